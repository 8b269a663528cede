"""Do the pods of an arm, which should be alike, scatter more than chance has them? Pearson's chi-square
says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Surprise:
    """How many more bad events than expected a pod has had so far, and the variance of that."""

    excess: float = 0.0
    variance: float = 0.0


@dataclass(slots=True)
class Scatter:
    """One cell: an arm's pods in each window, and in all windows so far, which shows what lasts.

    What is expected of a pod is its events at the bad share that all pods had in the same window, so that
    drift which they share leaves no trace. `scatters` does the same in arrays, to the last bit: sums are in
    the order of names.
    """

    pods: dict[str, Surprise] = field(default_factory=dict)
    so_far: tuple[float, int] = (0.0, 0)

    def add(self, pods: Mapping[str, tuple[int, int]]) -> tuple[float, int, float, int]:
        """Chi-square and its degrees of freedom of one window, and by what it changes those of all so far.

        `pods`: events, and bad ones, by pod. All are 0 where the counts show nothing.
        """
        now = _surprises(pods)
        if not now:
            return 0.0, 0, 0.0, 0
        for name, surprise in now.items():
            known = self.pods.setdefault(name, Surprise())
            known.excess += surprise.excess
            known.variance += surprise.variance
        before, self.so_far = self.so_far, _pearson(self.pods)
        lasting = self.so_far[0] - before[0], self.so_far[1] - before[1]
        return *_pearson(now), *lasting


def in_one_window(pods: Mapping[str, tuple[int, int]]) -> tuple[float, int]:
    """The first two of `Scatter.add`, which need no memory."""
    return _pearson(_surprises(pods))


def _surprises(pods: Mapping[str, tuple[int, int]]) -> dict[str, Surprise]:
    n, bad = (sum(column) for column in zip(*pods.values(), strict=True)) if pods else (0, 0)
    if not 0 < bad < n:
        return {}
    share = bad / n
    return {name: Surprise(x - m * share, m * share * (1 - share)) for name, (m, x) in pods.items() if m}


def _pearson(pods: Mapping[str, Surprise]) -> tuple[float, int]:
    if len(pods) < 2:
        return 0.0, 0
    total = 0.0
    for _, pod in sorted(pods.items()):
        total += pod.excess * pod.excess / pod.variance
    return total, len(pods) - 1
