"""The benchmark judges as the product does."""

import numpy as np
import pytest

from bench import ours, peers
from bench.rules import ALPHA, OURS, Row, row, tuned
from bench.traffic import DELAY, NULLS, OTHERS, PER_MINUTE, SECONDS, Layout, Scenario, Stream, draw
from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.judge import Carried, Policy, StepContext
from inference_rollouts.core.judging.rules import Rules, rules_of
from inference_rollouts.core.judging.running import log_total
from inference_rollouts.core.judging.sums import carried_of, evidence_of
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts
from tests.support.judging import vllm_set

SHORT = Layout(steps=(0.1, 0.5), minutes=(3, 4), more=1)


def one_window(stream: Stream, rules: Rules, t: int) -> WindowCounts:
    def counts(name: str, place: slice) -> Counts:
        arms = [
            ArmCounts(
                n=int(stream.n[arm, 0, t, place][0]), bad=tuple(stream.bad[arm, 0, t, place].tolist()), pods=4
            )
            for arm in (0, 1)
        ]
        return Counts(
            canary=arms[0],
            stable=arms[1],
            chi2=tuple(stream.chi2[0, t, place].tolist()),
            df=tuple(map(int, stream.df[0, t, place])),
            lasting_chi2=tuple(stream.lasting_chi2[0, t, place].tolist()),
            lasting_df=tuple(map(int, stream.lasting_df[0, t, place])),
            canary_chi2=tuple(stream.canary_chi2[0, t, place].tolist()),
            canary_df=tuple(map(int, stream.canary_df[0, t, place])),
        )

    each = {name: counts(name, place) for name, place in rules.places.items()}
    return WindowCounts(start=SECONDS * t, end=SECONDS * (t + 1), counts=each)


@pytest.mark.parametrize("kappa", [1.0, "estimate"])
def test_all_steps_of_a_rollout_give_the_same_evidence(kappa: float) -> None:
    scenario = Scenario("both", layout=SHORT, drift=0.5, canary={"errors": 2.0}, batch=1.0, pods=0.03)
    rules = rules_of(Policy.from_json({"kappa": kappa}), vllm_set())
    stream = draw(scenario, vllm_set(), 1, np.random.default_rng(4))
    expected = ours.judged(stream, rules)
    evidence, good, carried = [], [], Carried()
    bakes = [60.0 * minutes - DELAY * SECONDS for minutes in SHORT.minutes]
    for step in range(2):
        context = StepContext(
            index=step + 1,
            steps=2,
            weight=50,
            started_at=0,
            bake=bakes[step],
            whole=sum(bakes),
            last_compared=step == 1,
        )
        sums = judge.begin(rules.policy, vllm_set(), context, carried)
        for t in np.flatnonzero(SHORT.step == step).tolist():
            if SHORT.counted[t]:
                sums = judge.absorb(sums, one_window(stream, rules, t))
            evidence.append(float(log_total(evidence_of(sums).log_e, rules)))
        judgement = judge.conclude(sums, judge.Health(), 0)
        carried = carried_of(sums, 0)
    good = [np.log(row.goodness / row.needed) for row in judgement.rows if row.goodness and row.needed]
    np.testing.assert_allclose(evidence, expected.total[0], atol=1e-4)
    np.testing.assert_allclose(good, expected.good[0, -1], atol=1e-3)


def test_nothing_is_promoted_while_something_is_in_the_air(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = rules_of(Policy(), vllm_set())
    stream = draw(Scenario("alike", layout=SHORT), vllm_set(), 2, np.random.default_rng(4))
    doubt = np.log(1 / rules.policy.alpha) / 2
    total = np.repeat([[doubt], [doubt - 0.01]], stream.n.shape[2], axis=1)
    seen = ours.Seen(total, np.zeros((*total.shape, 1)), np.zeros((*total.shape, 1)))
    monkeypatch.setattr(ours, "judged", lambda *_: seen)
    assert row(stream, rules).promotion.tolist() == [np.inf, 1 / PER_MINUTE]


def test_peers_see_what_they_should() -> None:
    rules, rng = rules_of(Policy(), vllm_set()), np.random.default_rng(4)
    alike = draw(Scenario("alike", layout=SHORT), vllm_set(), 20, rng)
    worse = draw(Scenario("worse", layout=SHORT, canary={"errors": 16.0}), vllm_set(), 20, rng)
    for statistic in (peers.kayenta, peers.group_sequential, peers.mixture):
        usual, alarmed = (statistic(stream, rules)[:, :, 0].max(axis=1) for stream in (alike, worse))
        assert np.median(alarmed) > np.max(usual)


@pytest.mark.parametrize(
    "scenario", [s for s in (*NULLS, *OTHERS) if not s.batch], ids=lambda scenario: scenario.name
)
def test_arms_are_alike_where_nothing_is_wrong(scenario: Scenario) -> None:
    """Also where one arm has few requests: what is drawn beside the counts favours neither. Queues do."""
    stream = draw(scenario, vllm_set(), 40, np.random.default_rng(1))
    rules = rules_of(Policy(), vllm_set())
    for name in ("errors", "inter_token"):
        n, bad = (values[..., rules.places[name]].sum(axis=2) for values in (stream.n, stream.bad))
        canary, stable = ((bad + 0.5) / (n + 1)).mean(axis=1)
        assert np.all(np.abs(np.log(canary / stable))[stable > 0.01] < 0.35)


def test_a_threshold_allows_as_many_false_alarms_as_it_may() -> None:
    """Three in three hundred are 1 %, whatever the other nulls allow."""
    nulls = [Row({OURS: np.arange(300.0)[:, None, None] - far}, np.array([]), np.array([])) for far in (0, 9)]
    [limit] = tuned(nulls, OURS)
    assert [(null.highest[OURS] > limit).sum() for null in nulls] == [ALPHA * 300, 0]
