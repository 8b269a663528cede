"""A cluster of one moment: each thing is read once, however many ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.objects.k8s import K8sObject

T = TypeVar("T")
Key = tuple[object, ...]


class ReadOnce:
    """Remembers what `cluster` answered; not what it failed to answer. Safe to use from threads."""

    def __init__(self, cluster: Reader) -> None:
        self._cluster = cluster
        self._seen: dict[Key, object] = {}

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        """As of Reader."""
        key = ("get", api_version, kind, name, namespace)
        return self._once(key, self._cluster.get, api_version, kind, name, namespace)

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        """As of Reader."""
        return self._once(("find", api_version, kind, name), self._cluster.find, api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        """As of Reader."""
        key = ("select", api_version, kind, tuple(sorted((labels or {}).items())))
        return self._once(key, self._cluster.select, api_version, kind, labels)

    def serves(self, api_version: str, kind: str) -> bool:
        """As of Reader."""
        return self._cluster.serves(api_version, kind)

    def _once(self, key: Key, ask: Callable[..., T], *arguments: object) -> T:
        if key not in self._seen:
            self._seen.setdefault(key, ask(*arguments))  # of two who asked side by side both see the first
        return cast(T, self._seen[key])
