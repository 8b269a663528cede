"""A cluster of one moment: everybody sees the same of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.clients.read_once import ReadOnce
from inference_rollouts.core.objects.k8s import K8sObject


class Changing:
    """Another answer each time; `meanwhile` happens while the first is on its way."""

    def __init__(self) -> None:
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def find(self, api_version: str, kind: str, name: str) -> K8sObject:
        self.asked += 1
        answer = {"asked": self.asked}
        if self.asked == 1:
            self.meanwhile()
        return answer


def test_a_thing_is_read_once() -> None:
    cluster = Changing()
    seen = ReadOnce(cast(Reader, cluster))
    assert [seen.find("v1", "Pod", "a") for _ in range(2)] == [{"asked": 1}] * 2
    assert seen.find("v1", "Pod", "b") == {"asked": 2}


def test_who_asks_at_the_same_time_sees_the_same() -> None:
    cluster, others = Changing(), list[K8sObject | None]()
    seen = ReadOnce(cast(Reader, cluster))
    cluster.meanwhile = lambda: others.append(seen.find("v1", "Pod", "a"))
    assert [seen.find("v1", "Pod", "a")] == others
    assert [seen.find("v1", "Pod", "a")] == others
