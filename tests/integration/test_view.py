"""A view of an API server: what is written is seen, with no read at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.clients.view import ClusterView

PATIENCE = 60.0  # seconds


def comes(seen: Callable[[], bool]) -> bool:
    """Whether it is so before long."""
    end = time.monotonic() + PATIENCE
    while not seen() and time.monotonic() < end:
        time.sleep(0.02)
    return seen()


def test_what_is_written_is_seen(real: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by the watches that follow the first, which ends soon."""
    monkeypatch.setattr("inference_rollouts.clients.view.WATCH_SECONDS", 1.0)

    def write(name: str, app: str) -> None:
        labels = {"name": name, "labels": {"app": app}}
        real.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": labels, "data": {"a": app}})

    def names(app: str) -> list[str]:
        return [each["metadata"]["name"] for each in view.select("v1", "ConfigMap", {"app": app})]

    def sees(name: str) -> bool:
        return comes(lambda: name in names("x"))

    watches: list[str] = []
    follow = real.follow

    def counted(api_version: str, kind: str, version: str, seconds: float) -> Iterator[str]:
        watches.append(version)
        return follow(api_version, kind, version, seconds)

    monkeypatch.setattr(real, "follow", counted)
    write("a", "x")
    view = ClusterView(real)
    try:
        assert names("x") == ["a"]
        assert view.get("v1", "ConfigMap", "a") == real.get("v1", "ConfigMap", "a")
        write("b", "x")
        assert sees("b")
        assert comes(lambda: len(watches) > 2)
        write("c", "x")
        assert sees("c")
        write("a", "y")
        real.delete(real.get("v1", "ConfigMap", "b"))
        assert comes(lambda: (names("x"), names("y")) == (["c"], ["a"]))
        assert comes(lambda: 0.0 < view.age_of("v1", "ConfigMap") < 1.0)
    finally:
        view.close()
