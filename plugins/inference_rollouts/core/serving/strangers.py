"""Whose pods are in the metrics, and not in the cluster: those of another one, or ours that are gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Strangers:
    """Pods that the metrics had and the cluster lacked at the last look, and since which look (Unix seconds).

    One alone tells nobody whose they are: what is still exported by a pod that has been lacking for longer
    than metrics reach back is another cluster's.
    """

    since: Mapping[str, float] = field(default_factory=dict)

    def seen(self, exporting: Collection[str], own: Collection[str], now: float) -> Strangers:
        """What is known after a look at `now`: which pods export, and which the cluster has."""
        return Strangers({pod: self.since.get(pod, now) for pod in exporting if pod not in own})

    def lacking_at(self, time: float) -> frozenset[str]:
        """Those that the cluster lacked then already."""
        return frozenset(pod for pod, since in self.since.items() if since <= time)
