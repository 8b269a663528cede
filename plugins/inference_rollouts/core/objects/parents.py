"""Who serves a route: its parents, and what their controllers report on it and on its pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference_rollouts.core.objects.k8s import K8sObject, part, parts

GATEWAY_GROUP = "gateway.networking.k8s.io"
GATEWAY_KIND = "Gateway"


@dataclass(frozen=True, slots=True)
class Parent:
    """A parent of a route as one controller reports on it: a whole Gateway, or one of its listeners.

    Empty (0 for a port) is what nobody said: any controller, the whole Gateway. A parent without namespace
    is known by its name alone, and means all of that name. `route` is the HTTPRoute that it accepted; empty:
    any.
    """

    name: str
    namespace: str = ""
    section: str = ""
    port: int = 0
    controller: str = ""
    group: str = GATEWAY_GROUP
    kind: str = GATEWAY_KIND
    route: str = ""

    @property
    def reference(self) -> Parent:
        """The parentRef alone, whoever reports on it."""
        return replace(self, controller="", route="")

    @property
    def gateway(self) -> Parent:
        """The Gateway alone: pools know no listeners."""
        return replace(self.reference, section="", port=0)

    def means(self, other: Parent) -> bool:
        """Whether what `other` reports is the word of this parent."""
        if not self.namespace:
            return self.name == other.name
        return self.reference == other.reference and self.controller in ("", other.controller)

    def __str__(self) -> str:
        where = f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"
        listener = f", listener {self.section}" if self.section else ""
        return f"{where}{listener}" + (f", port {self.port}" if self.port else "")


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """One entry of `status.parents`: what a controller says for a parent; conditions by their types."""

    parent: Parent
    conditions: Mapping[str, K8sObject]

    @property
    def accepted(self) -> bool:
        return self.conditions.get("Accepted", {}).get("status") == "True"

    @property
    def generation(self) -> int:
        """The newest generation of the object that the controller has seen; 0 where it does not say."""
        return max((observed_generation(each) or 0 for each in self.conditions.values()), default=0)


def parents_of(route: K8sObject) -> tuple[Parent, ...]:
    """What `spec.parentRefs` of a route names, in its order, with the defaults of the Gateway API."""
    refs = [ref for ref in parts(route, "spec", "parentRefs") if ref.get("name")]
    return tuple(dict.fromkeys(_parent(ref, _namespace(route)) for ref in refs))


def accepting(route: K8sObject) -> tuple[Parent, ...]:
    """The parents that accept a route now, each with its controller.

    At whatever generation: one that is late still serves it. Where several controllers report on one
    parentRef, those that trail behind another had the parent once.
    """
    entries, name = route_statuses(route), str(part(route, "metadata").get("name", ""))
    newest = [
        entry
        for reference in dict.fromkeys(entry.parent.reference for entry in entries)
        for entry in _newest([each for each in entries if each.parent.reference == reference])
    ]
    return tuple(dict.fromkeys(replace(each.parent, route=name) for each in newest if each.accepted))


def route_statuses(route: K8sObject) -> list[ParentStatus]:
    """What is reported on a route for the parents that it names now; the words of former ones stay behind."""
    current = set(parents_of(route))
    return [each for each in _statuses(route) if each.parent.reference in current]


def pool_statuses(pool: K8sObject) -> list[ParentStatus]:
    """What is reported on an InferencePool, which itself names no parents."""
    return _statuses(pool)


def asked_of_pools(parent: Parent, statuses: Sequence[ParentStatus]) -> tuple[Parent, ...]:
    """Whose word on a pool counts for a route with this parent: that of its Gateway.

    A parent of another kind, as a ListenerSet, adds to a Gateway that the route does not name: then all
    Gateways of its controller that report on the pool are asked, unless it is itself reported on.
    """
    own, controller = parent.gateway, parent.controller
    if own.kind == GATEWAY_KIND or any(own == each.parent.reference for each in statuses):
        return (own,)
    reported = (each.parent for each in statuses if each.parent.kind == GATEWAY_KIND and controller)
    same = [each.gateway for each in reported if each.controller in ("", controller)]
    return tuple(dict.fromkeys(same)) or (own,)


def reports_of(parent: Parent, statuses: Iterable[ParentStatus]) -> list[ParentStatus]:
    """The word of `parent`: one entry, unless it is known by less than who it is. Empty: it said nothing.

    Of a parent that is known by name alone those count that accept, if any does.
    """
    entries = _newest([each for each in statuses if parent.means(each.parent)])
    willing = [] if parent.namespace else [each for each in entries if each.accepted]
    return willing or entries


def observed_generation(condition: K8sObject) -> int | None:
    """The generation of the object that a condition speaks of; None where it does not say."""
    seen = condition.get("observedGeneration")
    return seen if isinstance(seen, int) else None


def _statuses(obj: K8sObject) -> list[ParentStatus]:
    # `parent`: InferencePools of v1alpha2
    entries = parts(obj, "status", "parents") or parts(obj, "status", "parent")
    return [ParentStatus(_reporting(each, _namespace(obj)), _conditions(each)) for each in entries]


def _newest(entries: Sequence[ParentStatus]) -> list[ParentStatus]:
    latest = max((each.generation for each in entries), default=0)
    return [each for each in entries if each.generation == latest]


def _reporting(entry: K8sObject, namespace: str) -> Parent:
    """Of whom an entry of a status speaks, and who reports it."""
    controller = str(entry.get("controllerName") or "")
    return replace(_parent(part(entry, "parentRef"), namespace), controller=controller)


def _conditions(entry: K8sObject) -> dict[str, K8sObject]:
    return {str(each.get("type")): each for each in parts(entry, "conditions")}


def _parent(ref: K8sObject, namespace: str) -> Parent:
    port, group = ref.get("port"), ref.get("group")
    if group is None:  # v1alpha2 wrote the ObjectReference of an InferencePool's parent with an apiVersion
        group = str(ref.get("apiVersion") or GATEWAY_GROUP).partition("/")[0]
    return Parent(
        name=str(ref.get("name") or ""),
        namespace=str(ref.get("namespace") or namespace),
        section=str(ref.get("sectionName") or ""),
        port=port if isinstance(port, int) else 0,
        group=str(group),
        kind=str(ref.get("kind") or GATEWAY_KIND),
    )


def _namespace(obj: K8sObject) -> str:
    return str(part(obj, "metadata").get("namespace") or "default")
