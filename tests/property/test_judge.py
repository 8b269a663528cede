"""Laws of verdicts."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.decision_record import replay
from inference_rollouts.core.judging.judge import Carried, Health, Judgement, Verdict, assess
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.window_counts import ArmCounts, WindowCounts
from tests.support.judging import HEALTHY, SMALL, Record, counted, policy, small_set, step, window

SET = small_set()


@st.composite
def arms(draw: st.DrawFn, scale: int = 200) -> dict[str, ArmCounts]:
    n, m = draw(st.integers(0, scale)), draw(st.integers(0, scale))
    half = draw(st.integers(0, m))
    return {
        "errors": counted(n, draw(st.integers(0, n)), pods=draw(st.integers(0, 2))),
        "ttft": counted(m, half, draw(st.integers(0, half))),
    }


@st.composite
def series(draw: st.DrawFn) -> list[WindowCounts]:
    pairs = draw(st.lists(st.tuples(arms(), arms(), st.floats(0, 50)), max_size=8))
    return [window(10.0 * i, c, s, chi2=chi2, df=int(chi2 > 0)) for i, (c, s, chi2) in enumerate(pairs)]


policies = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.001, 0.01, 0.2]),
        "kappa": st.sampled_from([1.0, 0.5, "estimate"]),
        "margin": st.sampled_from([None, 0.5, 1.0]),
        "objectives": st.booleans(),
        "on_timeout": st.sampled_from(["rollback", "ask", "advance"]),
    }
)
contexts = st.fixed_dictionaries(
    {
        "index": st.integers(1, 3),
        "steps": st.just(3),
        "weight": st.sampled_from([5, 50, 100]),
        "last_compared": st.booleans(),
    }
)
healths = st.builds(
    Health,
    ready_canary=st.sampled_from([None, 0, 3]),
    ready_stable=st.sampled_from([None, 0, 3]),
    restarts=st.integers(0, 4),
    route_ok=st.booleans(),
    prometheus_ok=st.booleans(),
)


@settings(deadline=None)
@given(policies, contexts, series(), st.lists(healths, min_size=8, max_size=8))
def test_a_record_replays_to_the_same_bytes(
    rules: Any, context: Any, windows: list[WindowCounts], health: list[Health]
) -> None:
    chosen, where = policy(**rules), step(**context)
    recorder = Record(chosen, SET, where, Carried(), ())
    sums = judge.begin(chosen, SET, where, Carried())
    for counts, seen in zip(windows, health, strict=False):
        sums = judge.absorb(sums, counts)
        recorder.window(counts)
        recorder.observation(seen, judge.conclude(sums, seen, counts.end + 0.3))
    assert replay(recorder.lines) == recorder.lines


@settings(deadline=None)
@given(policies, contexts, series(), healths, st.floats(0, 2000))
def test_verdicts_keep_their_promises(
    rules: Any, context: Any, windows: list[WindowCounts], health: Health, late: float
) -> None:
    chosen, where = policy(**rules), step(**context)
    now = 10.0 * len(windows) + late
    judgement = assess(chosen, SET, where, windows, Carried(), health, now)
    assert Judgement.from_json(json.loads(json.dumps(judgement.to_json(), allow_nan=False))) == judgement
    assert judgement.reason
    if not health.prometheus_ok or health.ready_canary is None:
        assert judgement.verdict is not Verdict.ADVANCE
    if judgement.evidence >= judgement.alarm_at or health.ready_canary == 0:
        assert judgement.verdict in (Verdict.ROLLBACK, Verdict.ASK)
    if judgement.verdict is Verdict.ADVANCE:
        assert now >= where.baked_at
        assert windows


@settings(deadline=None)
@given(series(), st.randoms(use_true_random=False))
def test_promotion_does_not_ask_for_an_order_of_windows(windows: list[WindowCounts], random: Any) -> None:
    """The alarm does: a canary may turn bad. So does what a slowdown makes of the odds, which is read off the
    windows before."""
    rate, latency = SMALL["metrics"]
    exact = parse_metric_set(SMALL | {"metrics": [rate, latency | {"slowdown": 0}]})
    rules, last = policy(kappa=0.5), step(last_compared=True)
    shuffled = random.sample(windows, len(windows))
    one, other = (
        [row.goodness for row in assess(rules, exact, last, order, Carried(), HEALTHY, 100).rows]
        for order in (windows, shuffled)
    )
    np.testing.assert_allclose(np.array(one, float), np.array(other, float), rtol=1e-5)


@settings(deadline=None)
@given(series(), arms(), arms(), st.data())
def test_a_worse_canary_never_has_less_evidence_against_it(
    past: list[WindowCounts], canary: dict[str, ArmCounts], stable: dict[str, ArmCounts], data: st.DataObject
) -> None:
    """Turning good requests of the canary into bad ones, and as many bad ones of stable into good."""
    errors, usual = canary["errors"], stable["errors"]
    turned = data.draw(st.integers(0, min(errors.n - errors.bad[0], usual.bad[0])))
    worse = canary | {"errors": replace(errors, bad=(errors.bad[0] + turned,))}
    better = stable | {"errors": replace(usual, bad=(usual.bad[0] - turned,))}
    start = 10.0 * len(past)
    one, other = (
        assess(policy(), SET, step(), [*past, last], Carried(), HEALTHY, start + 10).rows[0].evidence
        for last in (window(start, canary, stable), window(start, worse, better))
    )
    assert other >= one * (1 - 1e-5)
