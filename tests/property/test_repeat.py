"""Counted in arrays or one by one, an answer says the same: windows, notes, and all that comes after."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counts import Counter, Snapshot, _Again
from inference_rollouts.core.judging.labels import Labels, LabelSets, Samples
from inference_rollouts.core.judging.metrics import MetricSet, parse_metric_set
from inference_rollouts.core.judging.raw_series import Sample

CANARY, STABLE = Arm("pool", "new"), Arm("pool", "old")
BOUNDS = (0.1, 0.5, 1.0)


def metric_set() -> MetricSet:
    """A rate of each direction, and a latency."""
    rates = [
        {"name": "errors", "kind": "rate", "total": ["t", "t_total"], "bad": ["b", "b_total"]},
        {
            "name": "served",
            "kind": "rate",
            "total": "asked",
            "bad": "ended",
            "direction": "lower-is-worse",
        },
    ]
    latency: dict[str, Any] = {"name": "slow", "kind": "latency", "histogram": "h", "otherwise": "o"}
    latency["thresholds"] = BOUNDS
    return parse_metric_set(
        {"name": "set", "errors": "errors", "latency": "slow", "metrics": [*rates, latency]}
    )


class World:
    """Pods of both arms, which count, and to which things happen."""

    def __init__(self, seed: int, trouble: float) -> None:
        self._random = random.Random(seed)
        self._trouble = trouble
        self.pods = {(arm, f"{arm}-{n}"): self._pod() for arm in ("new", "old") for n in range(3)}
        self.hidden: set[tuple[str, ...]] = set()

    def _pod(self) -> dict[str, float]:
        self._now = getattr(self, "_now", 1000.0)
        return {"started": self._now - 5, "n": 0.0, "bad": 0.0, "ended": 0.0, "quick": 0.0}

    def after(self, seconds: float) -> Samples:
        """What a store answers then."""
        self._now += seconds
        for pod in self.pods.values():
            grown = self._random.randrange(40)
            pod["n"] += grown
            pod["bad"] += self._random.randrange(grown + 1) // 4
            pod["ended"] = max(pod["ended"], pod["n"] + self._random.randrange(-1, 1))
            pod["quick"] += grown // 2
        if self._random.random() < 0.5:
            self.hidden.clear()
        if self._random.random() < self._trouble:
            self._happens()
        labels, values = zip(*self._samples(), strict=True)
        return Samples(LabelSets.of(labels), values)

    def _happens(self) -> None:
        place = self._random.choice(list(self.pods))
        match self._random.randrange(8):
            case 0:
                self.pods[place] = self._pod()
            case 1:
                self.pods[place]["n"] /= 2
            case 2:
                self.pods.pop(place)
                arm = place[0]
                self.pods[arm, f"{arm}-{self._random.randrange(9)}"] = self._pod()
            case 3:
                self.hidden ^= {(*place, "errors/bad/0")}
            case 4:
                self.hidden ^= {(*place, "started")}
            case 5:
                self.hidden ^= {(*place, "slow/le/0")}
            case 6:
                self.pods[place]["n"] += 2e9
            case 7:
                self.pods[place]["ended"] += 1000

    def _samples(self) -> Iterator[Sample]:
        for (arm, pod), seen in self.pods.items():
            series = [
                ("started", None, seen["started"] + self._random.random() / 3),
                ("errors/total/1", None, seen["n"]),
                ("errors/bad/0", None, seen["bad"]),
                ("served/total/0", None, seen["n"]),
                ("served/bad/0", None, max(seen["ended"], 0.0)),
                *(("slow/le/0", str(bound), seen["quick"]) for bound in BOUNDS),
                ("slow/le/0", "+Inf", seen["n"]),
                *(("slow/le/1", str(bound), 9 * seen["quick"]) for bound in BOUNDS),
                ("slow/le/1", "+Inf", 9 * seen["n"]),
            ]
            for tag, le, value in series:
                for worker in ("1", "2") if tag == "errors/total/1" else ("1",):
                    if (arm, pod, tag) not in self.hidden:
                        labels = {"pool": arm, "pod": pod, "series": tag, "worker": worker}
                        yield Labels(labels | ({"le": le} if le else {})), value


@pytest.mark.parametrize("trouble", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(12))
def test_what_repeats_is_counted_as_what_does_not(
    seed: int, trouble: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeated: list[bool] = []
    observe = _Again.observe

    def seen(self: _Again, *args: Any) -> Any:
        counts = observe(self, *args)
        repeated.append(counts is not None)
        return counts

    monkeypatch.setattr(_Again, "observe", seen)
    world = World(seed, trouble)
    quick, plain = (Counter(metric_set(), CANARY, STABLE) for _ in range(2))
    chance = random.Random(seed + 1000)
    for place in range(120):
        now, samples = 1000.0 + 5 * place, world.after(5)
        if chance.random() < trouble / 3:
            samples = Samples(LabelSets.of(()), ())
        known = None if seed % 3 == 0 else frozenset(pod for _, pod in world.pods if pod != "old-1")
        plain._again = None
        expected = plain.observe(Snapshot(now, {"counts": samples}), known)
        found = quick.observe(Snapshot(now, {"counts": samples}), known)
        assert found == expected
        assert quick.notes == plain.notes
        assert quick.silent({"new-0", "old-8"}) == plain.silent({"new-0", "old-8"})
    assert sum(repeated) > {0.0: 110, 0.05: 5, 0.3: -1}[trouble]


RATES = [(tag, None) for tag in ("errors/total/1", "errors/bad/0", "served/bad/0", "started")]


@pytest.mark.parametrize(("tag", "le"), [*RATES, ("slow/le/0", "0.1"), ("slow/le/0", "+Inf")])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0, 1e19, 1e300])
@pytest.mark.parametrize("first", [True, False])
def test_what_can_be_no_count_is_none_in_arrays_either(
    first: bool, odd: float, tag: str, le: str | None
) -> None:
    """Of one series at one pod: until the fourth answer, or in the fifth."""
    world = World(0, 0.0)
    quick, plain = (Counter(metric_set(), CANARY, STABLE) for _ in range(2))
    for place in range(8):
        samples = world.after(5)
        values = [
            odd
            if (labels["pod"], labels["series"], labels.get("le")) == ("new-0", tag, le)
            and (place < 4 if first else place == 5)
            else value
            for labels, value in samples
        ]
        seen = Snapshot(1000.0 + 5 * place, {"counts": Samples(samples.series, values)})
        plain._again = None
        assert quick.observe(seen) == plain.observe(seen)
        assert quick.notes == plain.notes
