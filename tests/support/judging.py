"""Made-up metric sets, snapshots and windows for the tests of the judge."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.decision_record import DecisionRecorder
from inference_rollouts.core.judging.judge import Carried, Health, Judgement, Policy, StepContext, assess
from inference_rollouts.core.judging.metrics import MetricSet, judged_together, parse_metric_set
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts

INCLUDE = Path(__file__).parents[2] / "include" / "metrics"
CANARY = Arm("inference_pool", "new", "default")
STABLE = Arm("inference_pool", "old", "default")
HEALTHY = Health(ready_canary=3, ready_stable=3)

SMALL: dict[str, Any] = {
    "name": "small",
    "errors": "errors",
    "latency": "ttft",
    "metrics": [
        {
            "name": "errors",
            "kind": "rate",
            "total": 'requests_total{handler="/v1"}',
            "bad": 'requests_total{code=~"5.."}',
            "tolerance": 0.1,
            "objective": {"share": 0.05},
            "negligible": 0.005,
        },
        {
            "name": "ttft",
            "kind": "latency",
            "histogram": ["ttft_seconds", "old_ttft_seconds"],
            "thresholds": [0.5, 1],
        },
    ],
}


def small_set(**changes: Any) -> MetricSet:
    """One rate and one latency with two edges; `changes` go to the rate."""
    rate, latency = SMALL["metrics"]
    return parse_metric_set(SMALL | {"metrics": [rate | changes, latency]})


GATEWAY: dict[str, Any] = {
    "name": "gateway",
    "exporters": "gateways",
    "pod": "instance",
    "started": None,
    "arm": {"label": "cluster", "value": "{namespace}_{pool}"},
    "errors": "errors",
    "metrics": [
        {"name": "errors", "kind": "rate", "total": "sent", "bad": "lost", "objective": {"share": 0.05}}
    ],
}


def with_gateway(**changes: Any) -> MetricSet:
    """The small set with a gateway's beside it; `changes` go to the gateway's."""
    return judged_together([small_set(), parse_metric_set(GATEWAY | changes)])


class Record(DecisionRecorder):
    """A whole record, in memory."""

    def __init__(self, *rules: Any) -> None:
        super().__init__(*rules)
        self.lines = [self.head]

    def observation(self, health: Health, judgement: Judgement, *, last: bool = False) -> str | None:
        line = super().observation(health, judgement, last=last)
        self.lines += [line] if line else []
        return line


def vllm_set() -> MetricSet:
    return parse_metric_set(yaml.safe_load((INCLUDE / "vllm.yaml").read_text()))


def policy(**changes: Any) -> Policy:
    return Policy.from_json(
        {"kappa": 1.0, "interval": 10, "progress_deadline": 300, "min_requests": 20} | changes
    )


def step(**changes: Any) -> StepContext:
    plain = {"index": 1, "steps": 1, "weight": 50, "started_at": 0.0, "initial_delay": 0.0, "bake": 60.0}
    together = plain | changes
    return StepContext.from_json({"whole": together["steps"] * together["bake"]} | together)


def counted(n: int, *bad: int, pods: int = 3) -> ArmCounts:
    return ArmCounts(n=n, bad=bad, pods=pods)


def window(
    start: float,
    canary: Mapping[str, ArmCounts],
    stable: Mapping[str, ArmCounts],
    *,
    seconds: float = 10.0,
    chi2: float = 0.0,
    df: int = 0,
    canary_chi2: float = 0.0,
) -> WindowCounts:
    counts = {
        name: Counts(
            canary=canary[name],
            stable=stable[name],
            chi2=(chi2,) * len(canary[name].bad),
            df=(df,) * len(canary[name].bad),
            lasting_chi2=(0.0,) * len(canary[name].bad),
            lasting_df=(0,) * len(canary[name].bad),
            canary_chi2=(canary_chi2,) * len(canary[name].bad),
            canary_df=(df,) * len(canary[name].bad),
        )
        for name in canary
    }
    return WindowCounts(start=start, end=start + seconds, counts=counts)


def quiet(start: float, n: int = 100, errors: tuple[int, int] = (0, 0)) -> WindowCounts:
    """A window of the small set in which both arms are as fast, with these failed requests."""
    slow = n // 4, n // 20
    return window(
        start,
        {"errors": counted(n, errors[0]), "ttft": counted(n, *slow)},
        {"errors": counted(n, errors[1]), "ttft": counted(n, *slow)},
    )


def quiet_windows(count: int, n: int = 100) -> list[WindowCounts]:
    return [quiet(10.0 * i, n) for i in range(count)]


def sample(arm: Arm, pod: str, tag: str, value: float, le: str | None = None) -> tuple[dict[str, str], float]:
    labels = {"series": tag, arm.label: arm.value, "pod": pod}
    return (labels | {"le": le} if le else labels), value


def snapshot(time: float, *samples: tuple[dict[str, str], float]) -> Snapshot:
    return Snapshot(time, {"counts": samples})


def rate_samples(
    arm: Arm, pod: str, total: float, bad: float | None = None
) -> list[tuple[dict[str, str], float]]:
    samples = [sample(arm, pod, "errors/total/0", total)]
    return samples if bad is None else [*samples, sample(arm, pod, "errors/bad/0", bad)]


def random_windows(
    metric_set: MetricSet, seed: int, count: int, rate: float = 100, canary: Sequence[float] = (0.02, 0.3)
) -> list[WindowCounts]:
    """Windows with binomial counts; `canary` gives its bad share for rates and for latencies."""
    rng = np.random.default_rng(seed)

    def arm(shares: Sequence[float]) -> dict[str, ArmCounts]:
        counts = {}
        for metric in metric_set.metrics:
            n = int(rng.poisson(rate))
            share = shares[metric.kind == "latency"]
            bad = sorted(
                (int(rng.binomial(n, share / (1 + j))) for j in range(len(metric.thresholds))), reverse=True
            )
            counts[metric.name] = counted(n, *bad)
        return counts

    return [window(10.0 * i, arm(canary), arm((0.02, 0.3)), chi2=2.0, df=2) for i in range(count)]


SET = small_set()
NEVER_SURE = {"margin": None}


def judged(windows: Sequence[WindowCounts], now: float | None = None, **given: Any) -> Judgement:
    """At the end of the windows, or at `now`; `rules` are fields of the policy."""
    return assess(
        given.pop("policy", policy(**given.pop("rules", NEVER_SURE))),
        given.pop("metric_set", SET),
        given.pop("step", step()),
        windows,
        given.pop("carried", Carried()),
        given.pop("health", HEALTHY),
        (windows[-1].end if windows else 0.0) if now is None else now,
    )


def failing(start: float, canary: int, stable: int, n: int = 100) -> WindowCounts:
    return quiet(start, n, errors=(canary, stable))
