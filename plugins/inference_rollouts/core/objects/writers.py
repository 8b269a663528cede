"""Who else writes an object whose weights move: its controller, and tools that make it as it is in git."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inference_rollouts.core.limits import ROUTE_WRITER_RECENT
from inference_rollouts.core.objects.k8s import K8sObject, moment, part, parts, title_of
from inference_rollouts.core.objects.ownership import OWNER

# The fields that say where requests go: of routes and rewrites, and of InferenceModels.
MOVED_FIELDS = frozenset({"f:rules", "f:targetModels"})
KSERVE = "HTTPRoute.kserve"
"""By which a plan accepts that KServe's controllers write its routes too."""
KSERVE_GROUP = "serving.kserve.io"
PEOPLE = "kubectl"  # the managers of kubectl's commands begin so


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that keeps objects as git says, by the beginning of its field manager's name."""

    manager: str
    name: str
    todo: str


_FLUX = "annotate it with kustomize.toolkit.fluxcd.io/reconcile=disabled while the rollout runs"
_TOOLS = (
    Tool(
        "argocd",
        "Argo CD",
        "pause its sync while the rollout runs, or have it leave the weights alone (`ignoreDifferences` with "
        "`RespectIgnoreDifferences=true`)",
    ),
    Tool("kustomize-controller", "Flux", _FLUX),
    Tool("flux", "Flux", _FLUX),
    Tool(
        "helm-controller",
        "Flux's Helm controller",
        "suspend its HelmRelease while the rollout runs, or list the weights under `driftDetection.ignore`",
    ),
)


def warnings(obj: K8sObject, now: float) -> list[str]:
    """One sentence for each that may undo our weights, with what to do. `now` is Unix time."""
    return [*_controllers(obj), *_managers(obj, now)]


def written_by_kserve(obj: K8sObject) -> str:
    """A sentence about the object of KServe whose controller writes this one's whole spec; else empty."""
    for owner in parts(obj, "metadata", "ownerReferences"):
        if str(owner.get("apiVersion")).startswith(f"{KSERVE_GROUP}/"):
            who = f"{owner.get('kind')} {owner.get('name')}"
            return (
                f"{title_of(obj)} belongs to {who}, and KServe's controllers put its rules back as {who} "
                f"says: split by the fields of {who} itself, or give it a route of your own "
                "(`spec.router.route.http.refs`)."
            )
    return ""


def _controllers(obj: K8sObject) -> Iterator[str]:
    for owner in parts(obj, "metadata", "ownerReferences"):
        if owner.get("controller") is True:
            who = f"{owner.get('kind')} {owner.get('name')}"
            yield (
                f"{title_of(obj)} belongs to {who}, whose controller may undo the weights at any time, also "
                f"after a promotion: split by the fields of {who} itself, or pause its controller meanwhile."
            )


def _managers(obj: K8sObject, now: float) -> Iterator[str]:
    seen = set()
    for entry in parts(obj, "metadata", "managedFields"):
        name = str(entry.get("manager") or "unknown")
        if name == OWNER or name.startswith(PEOPLE) or entry.get("subresource"):
            continue
        fields, tool = part(entry, "fieldsV1", "f:spec"), _tool(name)
        if (deed := _deed(entry, fields, now, tool is not None)) and name not in seen:
            seen.add(name)
            who = f"{tool.name} (field manager {name})" if tool else f"The field manager {name}"
            todo = tool.todo if tool else "keep it from writing this object while the rollout runs"
            yield f"{who} {deed} {title_of(obj)} and may undo the weights: {todo}."


def _deed(entry: K8sObject, fields: Mapping[str, Any], now: float, is_tool: bool) -> str | None:
    """What makes a field manager one to reckon with.

    A tool is one with any field of the spec: lists of rules are owned as a whole, so that ours of an earlier
    rollout took them from it.
    """
    if MOVED_FIELDS & fields.keys():
        return "owns the rules of"
    written = moment(entry.get("time"))
    if fields and written is not None and now - written <= ROUTE_WRITER_RECENT:
        return f"wrote, {max(now - written, 0) / 60:.0f} minutes ago,"
    return "owns fields of" if fields and is_tool else None


def _tool(manager: str) -> Tool | None:
    return next((tool for tool in _TOOLS if manager.startswith(tool.manager)), None)
