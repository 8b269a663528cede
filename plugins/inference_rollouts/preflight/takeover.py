"""Everything that names stable is found, and the canary gets the same of it, or it is said why not."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable
from inference_rollouts.core.objects.api_groups import ATTACHED, NOT_ATTACHED, POOL_APIS
from inference_rollouts.core.objects.crashes import OVER
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, labels_of, part, title_of
from inference_rollouts.core.objects.readiness import picker_reference
from inference_rollouts.core.objects.selectors import Labels, selects, service_labels, spelled
from inference_rollouts.core.objects.takeover import Finding, Overlap, Verdict, overlaps, problems, shown
from inference_rollouts.core.objects.workload_kinds import (
    NUMBERING,
    is_workload,
    labels_of_sorts,
    pod_selector,
)
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.reporting.takeover import summary, table
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.taking_over import Stable
from inference_rollouts.rollout.pods import pods_of
from inference_rollouts.rollout.traffic import SelectPlaces
from inference_rollouts.rollout.workloads import chosen_by, workloads_of

log = logging.getLogger(__name__)


def survey(cluster: Cluster, plan: PoolPlan, pool: K8sObject) -> Stable:
    """All that stable, the InferencePool `pool`, consists of, and all that may name it."""
    running, unknown = workloads_of(cluster)
    workloads = chosen_by(pod_labels(pool), running)
    reference = picker_reference(pool)
    service = cluster.find("v1", "Service", reference[0]) if reference else None
    pods = [labels_of(pod) for pod in pods_of(cluster, plan.stable)]
    objects, unseen = _listed(cluster)
    return Stable(
        pool=pool,
        workloads=tuple(workloads),
        service=service,
        pickers=tuple(chosen_by(service_labels(service) if service else {}, running)),
        pods=_distinct([*(labels for each in workloads for labels in labels_of_sorts(each)), *pods]),
        objects=objects,
        unseen=(*unknown, *unseen),
    )


def check_overlaps(cluster: Cluster, plan: PoolPlan, stable: Stable, manifests: Sequence[K8sObject]) -> None:
    """Raises ClusterRefused where a selector chooses both stable's pods and the canary's, or others' too."""
    pools = [
        each
        for api in POOL_APIS
        if cluster.serves(api, "InferencePool")
        for each in cluster.select(api, "InferencePool")
        if each["metadata"]["name"] != plan.canary
    ]
    made = [each for each in manifests if each["kind"] == "InferencePool" or is_workload(each)]
    new = [labels for each in made if is_workload(each) for labels in labels_of_sorts(each)]
    found = [
        *overlaps(map(_choosing, (*pools, *stable.workloads)), new, plan.canary),
        *overlaps(map(_choosing, made), stable.pods, plan.stable),
    ]
    if found := [*found, *_strangers(cluster, made)]:
        raise ClusterRefused(found[0])


def _strangers(cluster: Cluster, made: Sequence[K8sObject]) -> Iterator[str]:
    """A sentence for what has pods that the canary's pool would choose, and is not the canary's.

    They would get its requests, whoever they are: somebody's own trial, or a job.
    """
    own = {title_of(each): pod_selector(each) for each in made if is_workload(each)}
    running, _ = workloads_of(cluster)
    for pool in (each for each in made if not is_workload(each)):
        selector = {"matchLabels": pod_labels(pool)}
        others = [each for each in running if title_of(each) not in own and _has_pods(each, selector)]
        pods = [
            each
            for each in cluster.select("v1", "Pod", pod_labels(pool))
            if part(each, "status").get("phase") not in OVER
            and not any(selects(chosen, labels_of(each)) for chosen in own.values())
        ]
        if titles := [title_of(each) for each in (*others, *pods)]:
            more = f" and {len(titles) - 1} more" if len(titles) > 1 else ""
            yield (
                f"{title_of(pool)} selects its pods by {spelled(selector)}, which those of {titles[0]}{more} "
                "have too: they would get the canary's requests. Give the canary's pods another value of "
                "such a label."
            )


def _has_pods(workload: K8sObject, selector: K8sObject) -> bool:
    return any(selects(selector, labels) for labels in labels_of_sorts(workload))


def backends(
    moved: Sequence[tuple[Target, K8sObject]], stable: str, canary: str, places: SelectPlaces
) -> Iterator[Finding]:
    """What the backendRef of stable has beside its name and weight, in each rule that moves.

    A canary that stands in a rule already keeps its own: nobody looked whether it is like stable's.
    """
    for target, obj in moved:
        for place in places(obj):
            entries = {each["name"]: each for each in reversed(place.found)}
            old, own = entries[stable], entries.get(canary)
            where, keys = f"{place.path}.backendRefs", _beside_names(old)
            if own is not None:
                yield from _unlike(str(target), where, old, own)
            elif keys:
                yield Finding(str(target), where, ", ".join(keys), ", ".join(keys), Verdict.TAKEN_OVER)


def _unlike(title: str, where: str, old: K8sObject, own: K8sObject) -> Iterator[Finding]:
    """In what the canary's own backendRef is not like stable's."""
    for key in dict.fromkeys([*_beside_names(old), *_beside_names(own)]):
        before, after = old.get(key), own.get(key)
        verdict = Verdict.TAKEN_OVER if before == after else Verdict.DIFFERS
        why = "" if before == after else "its backendRef stands in the rule already"
        essential = before != after
        yield Finding(title, f"{where}.{key}", shown(before), shown(after), verdict, why, essential)


def _beside_names(entry: K8sObject) -> list[str]:
    return [key for key in entry if key not in ("group", "kind", "name", "weight")]


def check(findings: Sequence[Finding], plan: PoolPlan) -> None:
    """Log the table. Raises ClusterRefused for what matters to security or clients and is not accepted."""
    log.info("what the canary has of all that stable has:\n%s", table(findings))
    for _, rows in groupby(sorted(filter(_differs, findings), key=_object), key=_object):
        first, *rest = rows
        more = ", ".join(each.field for each in rest)
        log.warning("%s%s", first, f"; as do {more}" if more else "")
    if wrong := problems(findings, plan.accept_differences):
        shown = "; ".join(map(str, wrong[:3])) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        names = ", ".join(dict.fromkeys(each.name for each in wrong))
        raise ClusterRefused(
            f"{plan.canary} would not be as {plan.stable} in what matters: {shown}. Make them alike, or say "
            f"`accept_differences: [{names}]` in the plan."
        )
    log.info("%s", summary(findings))


_differs, _object = attrgetter("differs"), attrgetter("object")


def _listed(cluster: Cluster) -> tuple[tuple[K8sObject, ...], tuple[str, ...]]:
    """All objects that may name something of stable's, and the kinds of which nobody says which there are."""
    extensions = cluster.extensions()
    kinds = [each for each in ATTACHED if cluster.serves(*each)]
    kinds += [each for each in extensions.kinds if each[1] not in NOT_ATTACHED]
    objects, unseen = [], [f"all of {group}" for group in extensions.silent]
    for api, kind in kinds:
        try:
            objects += cluster.select(api, kind)
        except (ClusterUnavailable, ClusterRefused) as error:
            if (api, kind) in ATTACHED and getattr(error, "status", 0) != 403:
                raise  # it passes; of others a broken webhook must not keep all rollouts from beginning
            log.info("%s", error)
            unseen.append(f"{kind} ({api.partition('/')[0]})")
    return tuple(objects), tuple(unseen)


def _choosing(obj: K8sObject) -> Overlap:
    """How a pool or a workload chooses its pods."""
    chosen = pod_selector(obj) if is_workload(obj) else {"matchLabels": pod_labels(obj)}
    return Overlap(title_of(obj), chosen)


def _distinct(labels: Iterable[Labels]) -> tuple[Labels, ...]:
    """Each set of labels once, without what tells replicas apart."""
    return tuple(_unique({k: v for k, v in each.items() if k not in NUMBERING} for each in labels))


def _unique(labels: Iterable[Labels]) -> Iterator[Labels]:
    seen: list[Labels] = []
    for each in labels:
        if each not in seen:
            seen.append(each)
            yield each
