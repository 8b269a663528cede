"""What of a store's samples is of our own pods: others may have pods of the same names, now or later."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from inference_rollouts.core.judging.arms import TELLING, Arm, Labels
from inference_rollouts.core.judging.home import Known, home_of, named_so
from inference_rollouts.core.judging.metrics import SERIES, STARTED
from inference_rollouts.core.judging.raw_series import Sample, scraped_of
from inference_rollouts.core.judging.sites import ours, site_of


def of_own(
    samples: Sequence[Sample], pod: str, own: Mapping[str, Known], arm: Arm
) -> tuple[list[Sample], frozenset[str]]:
    """Those of our `own` pods (label `pod`) as the cluster knows them; and the names of several pods of which
    nothing tells which is ours, of whom there are none."""
    but_for = _of_no_place(arm)
    home = home_of(samples, pod, own, but_for)
    untold = frozenset(home.twins) if home.apart is None else frozenset()
    apart = frozenset(home.apart or ())
    mine = own.keys() - untold
    named = (each for each in samples if each[0].get(pod, "") in mine)
    return [each for each in named if site_of(each[0].items(), but_for) >= apart], untold


def near_home(samples: Sequence[Sample], pod: str, arm: Arm, home: Labels) -> list[Sample]:
    """Those of one pod of each name: of several the one that has the labels `home`, which all of this cluster
    have; of a name of which that tells none, nothing."""
    but_for = _of_no_place(arm)
    near: dict[str, frozenset[frozenset[tuple[str, str]]]] = {}
    for name, each in named_so(samples, pod, {labels.get(pod, "") for labels, _ in samples}, but_for).items():
        sites = each.sites
        mine = frozenset(sites) if len(sites) < 2 else ours(sites, home)
        near[name] = frozenset(series.site for series in each.only(mine or ()).counted)
    return [each for each in samples if site_of(each[0].items(), but_for) in near[each[0].get(pod, "")]]


def inside(samples: Sequence[Sample], pod: str, *, several: bool) -> dict[tuple[str, str], float]:
    """Gauges by pod and tag. A server counts once, whatever scrapes it; the processes that answer at one
    target count together, and so do the servers of a pod that has `several`."""
    targets: dict[tuple[str, str, Labels, frozenset[tuple[str, str]]], float] = {}
    for labels, value in samples:
        if (tag := labels.get(SERIES, "")) == STARTED:
            continue
        server = tuple((name, labels.get(name, "")) for name in TELLING if several)
        told = frozenset((name, labels.get(name, "")) for name in TELLING)
        target = labels.get(pod, ""), tag, server, scraped_of(labels.items()) | told
        targets[target] = targets.get(target, 0.0) + value
    servers: dict[tuple[str, str, Labels], float] = {}
    for (name, tag, server, _), value in targets.items():
        servers[name, tag, server] = max(value, servers.get((name, tag, server), value))
    pods: dict[tuple[str, str], float] = {}
    for (name, tag, _), value in servers.items():
        pods[name, tag] = pods.get((name, tag), 0.0) + value
    return pods


def _of_no_place(arm: Arm) -> Collection[str]:
    """The labels that name an arm: they are of no place."""
    return frozenset({arm.label, f"exported_{arm.label}"})
