"""What tells this cluster's series from those of others that write into the same metrics store.

Which pods are ours the cluster says, of now alone. Of times before, and once a rollout is over, it is told by
labels: those that stores, or who writes into them, put on all that comes of one cluster. Where several
clusters have pods of the same names, ours are known by what the cluster says of them: when they began, and
which others there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inference_rollouts.core.judging.arms import Labels
from inference_rollouts.core.judging.metrics import SERIES, STARTED
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.sites import STORE, OneName, Pairs, Site, processes, rank, site_of
from inference_rollouts.core.objects.k8s import K8sObject, moment, part, parts
from inference_rollouts.core.objects.readiness import container_statuses

SOONER, LATER = 5.0, 60.0  # seconds by which a process may begin before, and after, its container is said to


SCRAPED_BY_THEN = 120.0  # seconds after which a pod that is ready has been scraped


@dataclass(frozen=True, slots=True)
class Known:
    """What the cluster says of one of our pods: when its containers began (Unix seconds), and whether it has
    been there for so long that it must have been scraped."""

    begun: tuple[float, ...] = ()
    settled: bool = True

    @classmethod
    def of(cls, pod: K8sObject, now: float) -> Known:
        """A pod as the cluster has it at Unix time `now`."""
        running = (part(each, "state", "running") for each in container_statuses(pod))
        begun = (moment(each.get("startedAt")) for each in running)
        ready = (each for each in parts(pod, "status", "conditions") if _is_ready(each))
        since = next((moment(each.get("lastTransitionTime")) for each in ready), None)
        settled = since is not None and now - since >= SCRAPED_BY_THEN
        return cls(tuple(each for each in begun if each is not None), settled)


@dataclass(frozen=True, slots=True)
class Home:
    """`labels`: those of a place that all series of our own pods have, each with one value; None where there
    are no such series. `twins`: the pods that have namesakes in other clusters, with the sites of all.
    `apart`: those labels that tell ours from these; None where nothing tells which are ours."""

    labels: Labels | None = None
    apart: Labels | None = ()
    twins: Mapping[str, frozenset[Site]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counted:
    """A series that counts, as far as it matters where it is."""

    site: Site


def home_of(
    samples: Sequence[Sample], pod: str, own: Mapping[str, Known], but_for: Collection[str] = ()
) -> Home:
    """As the samples of one metric set show our own pods (label `pod`); labels `but_for` these are of no
    place."""
    named = named_so(samples, pod, own, but_for)
    clusters = _clusters({name: each.sites for name, each in named.items()})
    twins = {name: each.sites for name, each in named.items() if len({clusters[s] for s in each.sites}) > 1}
    at_home = _cluster_of_ours(twins, clusters, own, named)
    foreign = {clusters[site] for sites in twins.values() for site in sites} - {at_home}
    if at_home is None:
        foreign = set()
    kept = [each.only([s for s in each.sites if clusters[s] not in foreign]) for each in named.values()]
    labels = _common(site for each in kept for site in _all_sites(each))
    others = [site for site, cluster in clusters.items() if cluster in foreign]
    apart = _telling(labels or (), others) if at_home is not None or not twins else None
    if labels is not None:
        labels = tuple(pair for pair in labels if pair[0] != STORE or pair in (apart or ()))
    return Home(labels, apart, {name: frozenset(sites) for name, sites in twins.items()})


def named_so(
    samples: Sequence[Sample], pod: str, own: Collection[str], but_for: Collection[str]
) -> dict[str, OneName[Counted]]:
    """What a store has of each of the pods (label `pod`) that are called as our `own`."""
    begun: dict[str, dict[Pairs, float]] = {}
    counted: dict[str, dict[Counted, float]] = {}
    for labels, value in samples:
        if (name := labels.get(pod, "")) not in own:
            continue
        if labels.get(SERIES) == STARTED:
            begun.setdefault(name, {})[frozenset(labels.items())] = value
        else:
            counted.setdefault(name, {})[Counted(site_of(labels.items(), but_for))] = value
    return {
        name: OneName(begun.get(name, {}), counted.get(name, {}), lambda each: site_of(each, but_for))
        for name in {*begun, *counted}
    }


def _clusters(found: Mapping[str, Mapping[Site, Collection[float]]]) -> dict[Site, int]:
    """A number for each site, the same where one process is seen from both."""
    numbers: dict[Site, int] = {}
    for sites in found.values():
        for together in processes(sites):
            for site in together:
                numbers.setdefault(site, len(numbers))
            low = min(numbers[site] for site in together)
            same = {numbers[site] for site in together}
            numbers = {site: low if number in same else number for site, number in numbers.items()}
    return numbers


def _cluster_of_ours(
    twins: Mapping[str, Mapping[Site, Collection[float]]],
    clusters: Mapping[Site, int],
    own: Mapping[str, Known],
    named: Mapping[str, OneName[Counted]],
) -> int | None:
    """Which one it is where there are `twins`; None where nothing tells."""
    by_start = {
        cluster
        for name, sites in twins.items()
        for cluster in [_begun_as(sites, clusters, own[name].begun)]
        if cluster is not None
    }
    if by_start:
        return by_start.pop() if len(by_start) == 1 else None
    rivals = {clusters[site] for sites in twins.values() for site in sites}
    held: dict[int, set[str]] = {
        rival: {
            name
            for name, each in named.items()
            if own[name].settled and any(clusters[site] == rival for site in each.sites)
        }
        for rival in rivals
    }
    whole = set().union(*held.values())
    best = [rival for rival, names in held.items() if names == whole]
    return best[0] if len(best) == 1 else None


def _begun_as(
    sites: Mapping[Site, Collection[float]], clusters: Mapping[Site, int], begun: Collection[float]
) -> int | None:
    """The one cluster in which a pod of some name began when ours did."""
    fits = {
        clusters[site]
        for site, starts in sites.items()
        if any(-SOONER <= start - each <= LATER for start in starts for each in begun)
    }
    return fits.pop() if len(fits) == 1 else None


def _all_sites(named: OneName[Counted]) -> Iterator[Site]:
    yield from map(named.of_start, named.begun)
    yield from (series.site for series in named.counted)


def _common(sites: Iterator[Site]) -> Labels | None:
    """What all have; None of none."""
    known = list(sites)
    return tuple(sorted(frozenset.intersection(*known))) if known else None


def _telling(labels: Labels, others: Collection[Site]) -> Labels | None:
    """As few of our labels as tell ours from all others, the surest first; None where they do not."""
    told: list[tuple[str, str]] = []
    left = set(others)
    for pair in sorted(labels, key=lambda each: (rank(each[0]) or 0, each)):
        if away := {site for site in left if pair not in site}:
            told.append(pair)
            left -= away
    return None if left else tuple(sorted(told))


def _is_ready(condition: K8sObject) -> bool:
    return condition.get("type") == "Ready" and condition.get("status") == "True"
