"""Evidence that rare failures are not worse by the margin: of each kind by itself, and of all together."""

import itertools

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging import running
from inference_rollouts.core.judging.evidence import log_choose
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.overdispersion import Scattered
from inference_rollouts.core.judging.rules import Rules, rules_of
from inference_rollouts.core.judging.running import Running
from tests.support.judging import SMALL, policy

KINDS = ("errors", "lost", "refused")
ODDS = 2.0  # of the margin


def rules_of_rates(*names: str) -> Rules:
    """Of rates that are never negligible, judged as independent counts; the latency stays silent."""
    rate, latency = SMALL["metrics"]
    rates = [rate | {"name": name, "bad": name, "negligible": 0.0} for name in names]
    metric_set = parse_metric_set(SMALL | {"metrics": [*rates, latency]})
    return rules_of(policy(margin=ODDS - 1, kappa=1.0), metric_set)


def folded(state: Running, rules: Rules, n: tuple[int, int], bad: NDArray[np.int64]) -> Running:
    """One more window of each rollout with `n` requests of canary and stable; `bad`: 2 x rollouts x rates."""
    counts = np.zeros((*bad.shape[:2], len(rules.cells)), dtype=np.int64)
    events, failed = counts.copy(), counts
    events[:] = np.array(n)[:, None, None]
    failed[..., : bad.shape[-1]] = bad
    nothing = np.zeros(counts.shape[1:])
    return running.fold(state, rules, events, failed, Scattered(*[nothing] * 6), np.array(10.0))


def canary_at_the_margin(n: tuple[int, int], total: int) -> NDArray[np.float64]:
    """The chance of each canary count, given the total, when its odds are ODDS times stable's."""
    x = np.arange(total + 1)
    ways = np.exp(log_choose(np.full_like(x, n[0]), x) + log_choose(np.full_like(x, n[1]), total - x))
    chance = ways * ODDS**x
    return np.asarray(chance / chance.sum())


def test_at_the_margin_the_evidence_is_one_on_average_at_most() -> None:
    """All tables with these totals: so it passes 1/beta with a chance of at most beta, by Markov."""
    rules, n, totals = rules_of_rates("errors", "lost"), (40, 60), (9, 14)
    chances = np.outer(*(canary_at_the_margin(n, total) for total in totals)).ravel()
    canary = np.array(list(itertools.product(*(range(total + 1) for total in totals))))
    tables = np.stack([canary, np.array(totals) - canary])
    state = folded(running.nothing_seen(rules, len(canary)), rules, n, tables)
    good = running.log_goodness(state, rules)
    assert np.isclose(chances.sum(), 1)
    for name in ("errors", "lost"):
        assert 0.5 < float(chances @ np.exp(good[name])) <= 1 + 1e-12


def late(errors: int) -> dict[str, float]:
    """Evidence for each rate when of the canary's failures of one kind there are so many in the last step,
    beside 20 of stable, and all others were alike in it and before."""
    rules = rules_of_rates(*KINDS)
    alike = np.full((2, 1, len(KINDS)), 20)
    before = running.next_step(running.nothing_seen(rules, 1), rules)
    for _ in range(2):
        before = folded(before, rules, (2000, 2000), alike)
    now = alike.copy()
    now[0, 0, 0] = errors
    state = folded(running.next_step(before, rules), rules, (2000, 2000), now)
    return {name: float(each[0]) for name, each in running.log_goodness(state, rules).items()}


def test_others_do_not_hide_the_failures_of_one_kind_that_double_with_the_last_step() -> None:
    needed = np.log(1 / policy().beta)
    assert min(late(20)[name] for name in KINDS) > needed
    doubled = late(40)
    assert doubled["errors"] < needed
    assert min(doubled[name] for name in KINDS[1:]) > doubled["errors"]
