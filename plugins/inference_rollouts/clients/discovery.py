"""Which kinds an API server serves, and where. A yes is kept; a no is believed for a short time only.

A group that answers 404 is absent only if the list of all groups says so too: while an API server starts or
is upgraded, and where a proxy answers for it, what exists is 404 for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from inference_rollouts.clients.api_server import Answer, Request, require
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable
from inference_rollouts.core.limits import DISCOVERY_NO_TTL
from inference_rollouts.core.objects.k8s import K8sObject


@dataclass(frozen=True, slots=True)
class _Document:
    """The resources of a group and version by their kind, as they were at a time; none: it is not served."""

    at: float
    resources: dict[str, K8sObject]


@dataclass(frozen=True, slots=True)
class Extensions:
    """The namespaced kinds that a cluster serves beside Kubernetes' own, by API version.

    `silent` are the groups of which nobody can tell now which kinds they have.
    """

    kinds: tuple[tuple[str, str], ...]
    silent: tuple[str, ...] = ()


class Discovery:
    """What `ask` (an API server) says of itself; `now` gives seconds. Safe to use from threads."""

    def __init__(self, ask: Callable[[Request], Answer], now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._documents: dict[str, _Document] = {}

    def find(self, api_version: str, kind: str) -> K8sObject | None:
        """The resource (`name`, `namespaced`) of a kind; None where the cluster does not serve it.

        Raises ClusterUnavailable when nobody can tell now.
        """
        return self._remember(api_version, kind).resources.get(kind)

    def extensions(self) -> Extensions:
        """Each kind once, in the version that its group names first."""
        request = Request("GET", "/apis")
        groups = require(request, self._ask(request)).get("groups")
        found: dict[tuple[str, str], str] = {}
        silent: dict[str, None] = {}
        for group in groups if isinstance(groups, list) else ():
            name = str(group.get("name")) if isinstance(group, dict) else ""
            for version in _versions([group]) if name and not is_own(name) else ():
                try:
                    resources = self._remember(str(version)).resources
                except (ClusterUnavailable, ClusterRefused):
                    silent[name] = None
                    continue
                for kind, resource in resources.items():
                    if resource["namespaced"] and "list" in (resource.get("verbs") or ("list",)):
                        found.setdefault((name, kind), str(version))
        return Extensions(tuple((version, kind) for (_, kind), version in found.items()), tuple(silent))

    def forget(self, api_version: str) -> None:
        """Ask again: what was listed is not there."""
        self._documents.pop(api_version, None)

    def _remember(self, api_version: str, kind: str | None = None) -> _Document:
        """What is known of a version; asked anew where that is not enough to know of `kind`."""
        known = self._documents.get(api_version)
        lacks = known is None or (kind is not None and kind not in known.resources)
        if known is None or (lacks and self._now() - known.at >= DISCOVERY_NO_TTL):
            known = self._documents[api_version] = _Document(self._now(), self._read(api_version))
        return known

    def _read(self, api_version: str) -> dict[str, K8sObject]:
        request = Request("GET", root(api_version))
        answer = self._ask(request)
        if answer.status == 404 and "/" in api_version and self._is_absent(api_version):
            return {}
        resources = require(request, answer).get("resources")
        if not isinstance(resources, list) or not all(map(_is_resource, resources)):
            raise ClusterUnavailable("GET", request.path, answer.status, "the answer is no list of resources")
        if not resources:
            raise ClusterUnavailable("GET", request.path, answer.status, "no resource is listed yet")
        return {resource["kind"]: resource for resource in resources if "/" not in resource["name"]}

    def _is_absent(self, api_version: str) -> bool:
        """Whether the list of all groups lacks this one, in this version."""
        request = Request("GET", "/apis")
        groups = require(request, self._ask(request)).get("groups")
        if not isinstance(groups, list):
            raise ClusterUnavailable("GET", request.path, 200, "the answer is no list of groups")
        return api_version not in _versions(groups)


def root(api_version: str) -> str:
    """Where a group and version is served."""
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def _is_resource(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("kind"), str)
        and isinstance(value.get("namespaced"), bool)
    )


def is_own(group: str) -> bool:
    """Whether an API group is one of Kubernetes itself."""
    return "." not in group or group in _OWN_GROUPS


_OWN_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization",
        "certificates", "coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver",
        "metrics", "custom.metrics", "external.metrics", "networking", "node", "rbac.authorization",
        "resource", "scheduling", "storage", "storagemigration",
    )
)  # fmt: skip


def _versions(groups: Iterable[Any]) -> list[Any]:
    listed = (group.get("versions") for group in groups if isinstance(group, dict))
    versions = (version for versions in listed if isinstance(versions, list) for version in versions)
    return [version.get("groupVersion") for version in versions if isinstance(version, dict)]
