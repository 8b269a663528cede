"""The routes of a world: in memory, or on an API server."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import NotFound, PatchRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from tests.support.json_patch import PathMissing, TestFailed, apply_patch
from tests.support.lab.apiserver_process import ApiServer

Change = Callable[[dict[str, Any]], object]
"""Changes an object in place."""


class Objects(Mapping[str, dict[str, Any]]):
    """Routes by their names."""

    @abstractmethod
    def create(self, obj: dict[str, Any]) -> None: ...

    @abstractmethod
    def patch(self, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        """Raises PatchRefused."""

    @abstractmethod
    def edit(self, name: str, change: Change) -> None:
        """As somebody else does."""

    @abstractmethod
    def remove(self, name: str) -> None: ...


class MemoryObjects(Objects):
    """Routes in memory."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._objects[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def create(self, obj: dict[str, Any]) -> None:
        self._objects[obj["metadata"]["name"]] = obj

    def patch(self, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            self._objects[name] = apply_patch(self[name], patch)
        except (TestFailed, PathMissing) as error:
            raise PatchRefused(str(error)) from error
        return self[name]

    def edit(self, name: str, change: Change) -> None:
        obj = copy.deepcopy(self[name])
        change(obj)
        obj["metadata"]["resourceVersion"] = str(int(obj["metadata"]["resourceVersion"]) + 1)
        self._objects[name] = obj

    def remove(self, name: str) -> None:
        del self._objects[name]


class LiveObjects(Objects):
    """Routes in a namespace of an API server."""

    def __init__(self, cluster: KubernetesCluster, server: ApiServer) -> None:
        self.cluster, self.server = cluster, server
        self.path = f"/apis/{GATEWAY_API}/namespaces/{cluster.namespace}/httproutes"

    def __getitem__(self, name: str) -> dict[str, Any]:
        try:
            return dict(self.cluster.get(GATEWAY_API, "HTTPRoute", name))
        except NotFound as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        routes = self.cluster.select(GATEWAY_API, "HTTPRoute")
        return iter([route["metadata"]["name"] for route in routes])

    def __len__(self) -> int:
        return len(self.cluster.select(GATEWAY_API, "HTTPRoute"))

    def create(self, obj: dict[str, Any]) -> None:
        meta = {key: obj["metadata"][key] for key in ("name", "annotations") if key in obj["metadata"]}
        self.server.ok("POST", self.path, obj | {"metadata": meta})

    def patch(self, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        return dict(self.cluster.patch(GATEWAY_API, "HTTPRoute", name, patch))

    def edit(self, name: str, change: Change) -> None:
        obj = self[name]
        change(obj)
        self.server.ok("PUT", f"{self.path}/{name}", obj)

    def remove(self, name: str) -> None:
        self.server.ok("DELETE", f"{self.path}/{name}")
