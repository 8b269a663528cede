"""What tells this cluster's series from those of others that write into the same metrics store.

Which pods are ours the cluster says, of now alone. Of times before, and once a rollout is over, it is told by
labels: those that stores, or who writes into them, put on all that comes of one cluster.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from inference_rollouts.core.judging.arms import Labels
from inference_rollouts.core.judging.counts import Snapshot

_PLACES = re.compile(
    r"(?:\w+_)?cluster(?:_\w+)?|project_id|location|region|environment|env|datacenter|dc|site|tenant"
)


def home_of(snapshot: Snapshot, pod: str, own: Collection[str]) -> Labels | None:
    """The labels of a place that all series of our own pods (label `pod`) have, each with one value.

    None where there are no such series.
    """
    common: dict[str, str] | None = None
    for samples in snapshot.samples.values():
        for labels, _ in samples:
            if labels.get(pod, "") not in own:
                continue
            known = labels.items() if common is None else common.items()
            common = {name: value for name, value in known if labels.get(name) == value}
    if common is None:
        return None
    return tuple(sorted((name, value) for name, value in common.items() if _PLACES.fullmatch(name)))
