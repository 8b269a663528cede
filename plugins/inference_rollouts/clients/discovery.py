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
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.limits import DISCOVERY_NO_TTL
from inference_rollouts.core.objects.k8s import K8sObject


@dataclass(frozen=True, slots=True)
class _Document:
    """The resources of a group and version by their kind, as they were at a time; none: it is not served."""

    at: float
    resources: dict[str, K8sObject]


class Discovery:
    """What `ask` (an API server) says of itself; `now` gives seconds."""

    def __init__(self, ask: Callable[[Request], Answer], now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._documents: dict[str, _Document] = {}

    def find(self, api_version: str, kind: str) -> K8sObject | None:
        """The resource (`name`, `namespaced`) of a kind; None where the cluster does not serve it.

        Raises ClusterUnavailable when nobody can tell now.
        """
        known = self._documents.get(api_version)
        if known is None or (kind not in known.resources and self._now() - known.at >= DISCOVERY_NO_TTL):
            known = self._documents[api_version] = _Document(self._now(), self._read(api_version))
        return known.resources.get(kind)

    def forget(self, api_version: str) -> None:
        """Ask again: what was listed is not there."""
        self._documents.pop(api_version, None)

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


def _versions(groups: Iterable[Any]) -> set[Any]:
    listed = (group.get("versions") for group in groups if isinstance(group, dict))
    versions = (version for versions in listed if isinstance(versions, list) for version in versions)
    return {version.get("groupVersion") for version in versions if isinstance(version, dict)}
