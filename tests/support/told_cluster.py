"""A FakeCluster whose watches tell only what a test lets them tell: what was seen may be old."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.fake_cluster import FakeCluster

PATIENCE = 60.0  # seconds that a thread gets


class ToldCluster:
    """Watches of `cluster`. What is read in place of them is counted."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.reads = 0
        self._turn = threading.Condition()
        self._rounds = 0
        self._told: dict[str, int] = {}

    def tell(self) -> None:
        """All watches tell of all that is so now, and end."""
        with self._turn:
            self._rounds += 1
            self._turn.notify_all()
            assert self._turn.wait_for(
                lambda: all(begun > self._rounds for begun in self._told.values()), PATIENCE
            ), "those that began late tell of earlier rounds first"

    def release(self) -> None:
        """Let all watches end that wait."""
        with self._turn:
            self._rounds = 2**30
            self._turn.notify_all()

    def pages(self, api_version: str, kind: str) -> Iterator[tuple[list[K8sObject], str]]:
        yield list(self._objects(kind)), "1"

    def follow(self, api_version: str, kind: str, version: str, seconds: float) -> Iterator[str]:
        with self._turn:
            done = self._told[kind] = self._told.get(kind, 0) + 1
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._rounds >= done, PATIENCE)
        for each in self._objects(kind):
            yield json.dumps({"type": "MODIFIED", "object": each})

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        self.reads += 1
        return self.cluster.get(api_version, kind, name, namespace)

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        self.reads += 1
        return self.cluster.find(api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        self.reads += 1
        return self.cluster.select(api_version, kind, labels)

    def serves(self, api_version: str, kind: str) -> bool:
        return self.cluster.serves(api_version, kind)

    def _objects(self, kind: str) -> list[dict[str, Any]]:
        live = [deepcopy(obj) for (each, _), obj in self.cluster.objects.items() if each == kind]
        for obj in live:
            obj["metadata"].setdefault("resourceVersion", json.dumps(obj, sort_keys=True))
        return live
