"""The benchmark judges as the product does."""

import numpy as np
import pytest

from bench import ours, peers
from bench.streams import PER_MINUTE, SECONDS, STEP_MINUTES, STEPS, THRESHOLDS, Scenario, Stream, draw
from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.counts import ArmCounts, Counts, WindowCounts
from inference_rollouts.core.judging.judge import Carried, Policy, StepContext
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.sums import log_evidence

METRICS = parse_metric_set(
    {
        "name": "bench",
        "errors": "errors",
        "metrics": [
            {"name": "errors", "kind": "rate", "total": "a", "bad": "b", "tolerance": 0},
            {"name": "ttft", "kind": "latency", "histogram": "h", "thresholds": THRESHOLDS, "tolerance": 0},
        ],
    }
)


def one_window(stream: Stream, chi2: np.ndarray, df: np.ndarray, t: int) -> WindowCounts:
    places = {"errors": slice(0, 1), "ttft": slice(1, None)}
    counts = {
        name: Counts(
            canary=ArmCounts(n=int(stream.n_c[0, t]), bad=tuple(stream.bad_c[0, t, place].tolist()), pods=1),
            stable=ArmCounts(n=int(stream.n_b[0, t]), bad=tuple(stream.bad_b[0, t, place].tolist()), pods=4),
            chi2=float(chi2[0, t, place][0]),
            df=int(df[0, t, place][0]),
        )
        for name, place in places.items()
    }
    return WindowCounts(start=SECONDS * t, end=SECONDS * (t + 1), counts=counts)


@pytest.mark.parametrize("kappa", [1.0, "estimate"])
def test_all_steps_of_a_rollout_give_the_same_evidence(kappa: float) -> None:
    scenario = Scenario("both", drift=0.5, odds=lambda t: 2.0 + 0 * t, noise=(0.3, 0.3))
    stream = draw(scenario, 1, np.random.default_rng(4))
    expected = ours.log_evidence(stream, ours.increments(stream), ours.kappas(stream, kappa))[0]
    chi2, df = ours.pearson(stream)
    policy = Policy.from_json({"kappa": kappa, "objectives": False})
    evidence, carried = [], Carried()
    for step in range(len(STEPS)):
        context = StepContext(index=step + 1, steps=len(STEPS), weight=50, started_at=0, bake=1)
        sums = judge.begin(policy, METRICS, context, carried)
        for t in range(step * STEP_MINUTES * PER_MINUTE, (step + 1) * STEP_MINUTES * PER_MINUTE):
            if stream.counted[t]:
                sums = judge.absorb(sums, one_window(stream, chi2, df, t))
            evidence.append(float(np.logaddexp.reduce(log_evidence(sums) + np.log(sums.rules.weights))))
        carried = judge.conclude(sums, judge.Health(), 0).carried
    np.testing.assert_allclose(evidence, expected, atol=1e-6)


def test_peers_see_what_they_should() -> None:
    rng = np.random.default_rng(4)
    alike = draw(Scenario("alike"), 20, rng)
    worse = draw(Scenario("worse", odds=lambda t: 8.0 + 0 * t), 20, rng)
    statistics = (
        peers.z_test,
        peers.kayenta,
        lambda s: peers.counter(s, 3, 1, each_step=False),
        lambda s: peers.counter(s, 3, 5, each_step=True),
    )
    for statistic in statistics:
        usual, alarmed = (statistic(stream)[:, :, 0].max(axis=1) for stream in (alike, worse))
        assert np.median(alarmed) > np.max(usual)
