"""What a rollout creates so that the canary has all that stable has: copies of stable's own, or templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, fields_of, part, parts, title_of
from inference_rollouts.core.objects.readiness import picker_reference
from inference_rollouts.core.objects.secret_words import HIDDEN, is_secret
from inference_rollouts.core.objects.selectors import Labels, selector_of, selects, service_labels
from inference_rollouts.core.objects.succession import (
    AUTOSCALERS,
    REFERENCES,
    Succession,
    label_changes,
    renamed,
)
from inference_rollouts.core.objects.takeover import (
    Finding,
    Verdict,
    by_labels_of_pools,
    compared,
    finding,
    not_copied,
    shown,
    still_measured,
)
from inference_rollouts.core.objects.workload_kinds import (
    CONTROLLED,
    GROUPS_NAME,
    LEADERS,
    WORKER_INDEX,
    WORKLOAD_KINDS,
    is_workload,
    labels_of_sorts,
    match_labels,
    pod_templates,
    replicas_of,
    servers_among,
    template_labels,
)
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run import like_stable
from inference_rollouts.core.run.holding import hold
from inference_rollouts.core.run.manifests import is_spare
from inference_rollouts.core.serving.client_view import client_findings
from inference_rollouts.core.serving.engines import vllm

SERVING_KINDS = (*WORKLOAD_KINDS, "InferencePool", "Service")
# What a plan says of its workload; all else of a pod template that differs was not asked for.
_PLANNED = ("replicas", "image", "args", "resources", "nodeSelector", "tolerations")


@dataclass(frozen=True, slots=True)
class Stable:
    """All that serves today: the InferencePool, the `workloads` of its servers, and its endpoint picker.

    `pods` are the labels of its servers, each sort once. `objects` are all that may name any of it, and
    `unseen` the kinds of which nobody may see the objects.
    """

    pool: K8sObject
    workloads: tuple[K8sObject, ...]
    service: K8sObject | None
    pickers: tuple[K8sObject, ...]
    pods: tuple[Labels, ...]
    objects: tuple[K8sObject, ...]
    unseen: tuple[str, ...] = ()


@dataclass(slots=True)
class Takeover:
    """What the canary gets: `manifests` that must be, `copies` of what is attached to stable, and rows."""

    manifests: list[K8sObject]
    copies: list[tuple[K8sObject, K8sObject]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def like_stable_manifests(
    given: PoolPlan, plan: PoolPlan, stable: Stable
) -> tuple[list[K8sObject], Succession]:
    """Stable's pool, servers and picker for the canary. `given` is the plan as it was before it was resolved.

    Raises ClusterRefused where the picker cannot be copied, or workers would be sent requests.
    """
    for each in stable.workloads:
        _require_leaders_alone(each, stable.pool)
    old, new = plan.stable, plan.canary
    reference = picker_reference(stable.pool)
    if reference and not (stable.service and stable.pickers):
        raise ClusterRefused(
            f"The endpoint picker {reference[0]} of {old} is no Service with a Deployment, which "
            "`like: stable` takes over; use templates, or a picker of that kind."
        )
    service = stable.service["metadata"]["name"] if stable.service else None
    names = {
        (each["kind"], each["metadata"]["name"]) for each in (stable.pool, *stable.workloads, *stable.pickers)
    }
    names |= {("Service", each) for each in (*_services_of(stable), *([service] if service else []))}
    mapped = {each: renamed(each[1], old, new) for each in names} | {("InferencePool", old): new}
    selectors = [pod_labels(stable.pool), *map(match_labels, stable.workloads)]
    # A controller labels pods with the name of their set.
    groups = {(GROUPS_NAME, name): made for (kind, name), made in mapped.items() if kind == LEADERS}
    labels = label_changes(selectors, old, new, stable.pods, new, groups)
    picking = [*map(match_labels, stable.pickers), *map(service_labels, filter(None, [stable.service]))]
    unchanged = [each for each in picking if not labels.keys() & each.items()]
    labels |= label_changes(unchanged, old, new, (), f"{new}-epp")
    new_pods = tuple(_changed(each, labels) for each in stable.pods)
    draft = Succession(
        old, new, mapped, labels, stable.pods, new_pods, _changed(pod_labels(stable.pool), labels)
    )
    alone = len(stable.workloads) == 1
    made = [
        *(like_stable.workload_copy(each, draft, given, plan, alone=alone) for each in stable.workloads),
        *(
            like_stable.picker_copy(each, draft, given.picker.image)
            for each in (*stable.pickers, *([stable.service] if stable.service else []))
        ),
        draft.copy_of(stable.pool),
    ]
    return made, succession_of(plan, stable, made, mapped, labels)


def succession_of(
    plan: PoolPlan,
    stable: Stable,
    manifests: Sequence[K8sObject],
    names: Mapping[tuple[str, str], str] | None = None,
    labels: Mapping[tuple[str, str], str] | None = None,
) -> Succession:
    """Who takes whose place, once it is known what is made; names and labels are those of templates, if any.

    Raises ClusterRefused where no workload that is made has pods of the canary.
    """
    pool = _pool_of(plan, manifests)
    selector, reference = pod_labels(pool), picker_reference(pool)
    servers = servers_among([pool, *(each for each in manifests if is_workload(each))])
    if not servers:
        raise ClusterRefused(
            f"No manifest is of a Deployment, StatefulSet or LeaderWorkerSet whose pods InferencePool "
            f"{plan.canary} selects; give its template the labels of the pool's selector."
        )
    for each in servers:
        _require_leaders_alone(each, pool)
    service = next((each for each in manifests if reference and _is(each, "Service", reference[0])), None)
    chosen = service_labels(service).items() if service else None
    pickers = [
        each for each in manifests if is_workload(each) and chosen and chosen <= template_labels(each).items()
    ]
    return Succession(
        plan.stable,
        plan.canary,
        {("Service", name): renamed(name, plan.stable, plan.canary) for name in _services_of(stable)}
        | dict(names or _names_of_templates(plan, stable, servers, pickers, service)),
        labels or _labels_of_templates(stable, servers, pickers),
        servers=stable.pods,
        new_servers=tuple(labels for each in servers for labels in labels_of_sorts(each)),
        selector=selector,
        pickers=tuple(map(template_labels, stable.pickers)),
        new_pickers=tuple(map(template_labels, pickers)),
    )


def _names_of_templates(
    plan: PoolPlan,
    stable: Stable,
    servers: Sequence[K8sObject],
    pickers: Sequence[K8sObject],
    service: K8sObject | None,
) -> dict[tuple[str, str], str]:
    names = {("InferencePool", plan.stable): plan.canary}
    for old, new in ((stable.workloads, servers), (stable.pickers, pickers)):
        names |= {
            (each["kind"], each["metadata"]["name"]): new[0]["metadata"]["name"]
            for each in old
            if new and new[0]["kind"] == each["kind"]
        }
    if stable.service and service:
        names["Service", stable.service["metadata"]["name"]] = service["metadata"]["name"]
    return names


def _labels_of_templates(
    stable: Stable, servers: Sequence[K8sObject], pickers: Sequence[K8sObject]
) -> dict[tuple[str, str], str]:
    """The labels that the pods of templates have with other values than stable's."""
    pairs = [(each, template_labels(servers[0])) for each in stable.pods]
    pairs += [(template_labels(each), template_labels(pickers[0])) for each in stable.pickers if pickers]
    return {
        (k, v): new[k]
        for old, new in pairs
        for k, v in old.items()
        if new.get(k, v) != v and k not in CONTROLLED
    }


def take_over(
    plan: PoolPlan,
    stable: Stable,
    made: Sequence[K8sObject],
    succession: Succession,
    seen: Mapping[str, K8sObject],
) -> Takeover:
    """All that is attached to stable, copied for the canary unless what is `made` already does the same.

    `seen` has, by title, what the server would make of what is made, with its defaults, as stable has them.
    """
    result = Takeover(list(made))
    parts_of_stable = {title_of(each) for each in (*stable.workloads, *stable.pickers)}
    if stable.service:
        parts_of_stable.add(title_of(stable.service))
    for obj in sorted(stable.objects, key=title_of):
        if title_of(obj) not in parts_of_stable:
            _take_over_one(obj, succession, result, seen)
            result.findings += by_labels_of_pools(obj, stable.pool, _pool_of(plan, made))
    result.manifests = [each for each in result.manifests if not (is_spare(each) and _has_kind(result, each))]
    result.findings += _serving_findings(plan, stable, [_as_seen(each, seen) for each in made], succession)
    if stable.unseen:
        kinds = ", ".join(stable.unseen)
        result.findings.append(Finding("kinds that may not be listed", "", kinds, "", Verdict.CANNOT))
    return result


def _changed(labels: Labels, changes: Mapping[tuple[str, str], str]) -> dict[str, str]:
    return {key: changes.get((key, value), value) for key, value in labels.items()}


def _as_seen(manifest: K8sObject, seen: Mapping[str, K8sObject]) -> K8sObject:
    return seen.get(title_of(manifest), manifest)


def _take_over_one(
    obj: K8sObject, succession: Succession, result: Takeover, seen: Mapping[str, K8sObject]
) -> None:
    if not succession.is_attached(obj):
        if succession.covers_both(obj):
            result.findings.append(finding(obj, Verdict.TAKEN_OVER, "the same object"))
        elif succession.mentions(obj):
            why = "it names something of stable's in a field that nobody here knows"
            result.findings.append(finding(obj, Verdict.CANNOT, "", why=why))
        return
    if (refusal := not_copied(obj, succession)) is not None:
        result.findings.append(refusal)
        return
    copy = succession.copy_of(obj)
    counterpart = next((each for each in result.manifests if _does_the_same(each, copy, succession)), None)
    if counterpart is not None:
        result.findings += compared(obj, _as_seen(counterpart, seen), succession)
        return
    result.findings.append(finding(obj, Verdict.TAKEN_OVER, copy["metadata"]["name"]))
    if obj["kind"] in AUTOSCALERS:
        result.findings += still_measured(obj, copy, succession)
    result.findings += hold(obj, copy, _size_of(part(copy, "spec", "scaleTargetRef"), result.manifests))
    result.copies.append((obj, copy))


def _does_the_same(manifest: K8sObject, copy: K8sObject, succession: Succession) -> bool:
    """Whether a manifest that is made anyway is of the kind of a copy, and attached to the same."""
    if manifest["kind"] != copy["kind"] or is_spare(manifest):
        return False
    if manifest["metadata"]["name"] == copy["metadata"]["name"]:
        return True
    spec, other = part(manifest, "spec"), part(copy, "spec")
    for each in REFERENCES:
        if each in spec and each in other:
            return bool(_named(spec[each]) == _named(other[each]))
    selector = selector_of(manifest)
    return selector is not None and any(selects(selector, labels) for labels in succession.new_servers)


def _named(reference: Any) -> Any:
    """What a reference means, without the API group, which may be left out."""
    if isinstance(reference, list):
        return [_named(each) for each in reference]
    return (
        (part(reference).get("kind"), part(reference).get("name"))
        if not isinstance(reference, str)
        else reference
    )


def _has_kind(result: Takeover, manifest: K8sObject) -> bool:
    """Whether something of a manifest's kind is taken over from stable."""
    taken = (each.object for each in result.findings if each.verdict is Verdict.TAKEN_OVER)
    return any(title.startswith(f"{manifest['kind']} ") for title in taken)


def _size_of(reference: K8sObject, manifests: Sequence[K8sObject]) -> int:
    """How many pods the workload that an autoscaler means begins with; 0 where it means none of ours."""
    kind, name = str(reference.get("kind") or "Deployment"), str(reference.get("name"))
    workload = next((each for each in manifests if _is(each, kind, name)), None)
    return replicas_of(workload) if workload and is_workload(workload) else 0


def _serving_findings(
    plan: PoolPlan, stable: Stable, made: Sequence[K8sObject], succession: Succession
) -> Iterator[Finding]:
    """The pool, the pod templates and the picker."""
    yield from compared(stable.pool, _pool_of(plan, made), succession)
    for old in stable.workloads:
        new = _successor(old, made, succession)
        yield from _workload_findings(old, new, succession)
        yield from _client_findings(old, new)


def _successor(old: K8sObject, made: Sequence[K8sObject], succession: Succession) -> K8sObject:
    """The workload that takes the place of one of stable's; of another kind, where templates say so."""
    servers = servers_among(made)
    name = succession.names.get((old["kind"], old["metadata"]["name"]))
    return next((each for each in servers if each["metadata"]["name"] == name), servers[0])


def _client_findings(old: K8sObject, new: K8sObject) -> Iterator[Finding]:
    today, then = (vllm.server_options(like_stable.server_of(each)) for each in (old, new))
    if today:  # else nobody knows how it is started
        yield from client_findings(today, then)


def _workload_findings(old: K8sObject, new: K8sObject, succession: Succession) -> Iterator[Finding]:
    before, after = (dict(_workload_fields(each)) for each in (succession.copy_of(old), new))
    differing = [
        each
        for each in dict.fromkeys([*before, *after])
        if (before.get(each) or None) != (after.get(each) or None)
    ]
    for each in differing:
        planned = any(word in each.replace("]", ".").replace("[", ".").split(".") for word in _PLANNED)
        secret = ".env[" in each or is_secret(each.rpartition(".args.")[2])
        was, now = (HIDDEN if secret and each in side else shown(side.get(each)) for side in (before, after))
        yield Finding(title_of(old), each, was, now, Verdict.CHANGED if planned else Verdict.DIFFERS)
    if not differing:
        yield finding(old, Verdict.TAKEN_OVER, new["metadata"]["name"])


def _workload_fields(workload: K8sObject) -> Iterator[tuple[str, Any]]:
    """The fields of the pod templates and the size, with command lines as they are parsed."""
    yield "replicas", replicas_of(workload)
    for template, where in zip(pod_templates(workload), ("", "workers."), strict=False):
        yield from ((f"{where}{field}", value) for field, value in _pod_fields(part(template, "spec")))


def _pod_fields(pod: K8sObject) -> Iterator[tuple[str, Any]]:
    yield from fields_of({key: value for key, value in pod.items() if key != "containers"})
    for place, container in enumerate(parts(pod, "containers")):
        where = f"containers[{place}]"
        rest = {key: value for key, value in container.items() if key not in ("command", "args")}
        yield from fields_of(rest, where)
        for flag, values in vllm.server_options(container).items():
            yield f"{where}.args.{flag or 'model'}", " ".join(values)


def _require_leaders_alone(workload: K8sObject, pool: K8sObject) -> None:
    """Raises ClusterRefused where a pool selects the workers of a LeaderWorkerSet too."""
    selector = {"matchLabels": pod_labels(pool)}
    if any(selects(selector, labels) for labels in labels_of_sorts(workload)[1:]):
        raise ClusterRefused(
            f"{title_of(pool)} selects the workers of {title_of(workload)} too, which answer no requests; "
            f"add {WORKER_INDEX}: '0' to its selector, which leaders alone have."
        )


def _services_of(stable: Stable) -> list[str]:
    """The Services of stable's servers, each of which is copied under another name."""
    return [each["metadata"]["name"] for each in stable.objects if _is_of_servers(each, stable)]


def _is_of_servers(obj: K8sObject, stable: Stable) -> bool:
    """Whether an object is a Service of stable's servers, which is copied under another name."""
    selector = selector_of(obj) if obj["kind"] == "Service" else None
    return selector is not None and any(selects(selector, labels) for labels in stable.pods)


def _pool_of(plan: PoolPlan, manifests: Sequence[K8sObject]) -> K8sObject:
    pool = next((each for each in manifests if _is(each, "InferencePool", plan.canary)), None)
    if pool is None:
        raise ClusterRefused(
            f"No manifest is of InferencePool {plan.canary}; put it back into include/manifests."
        )
    return pool


def _is(obj: K8sObject, kind: str, name: str) -> bool:
    return (obj["kind"], obj["metadata"]["name"]) == (kind, name)
