"""Which pods are scraped, and with which labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.kube import Obj

POOL_LABEL = "inference-pool"
PORT_NAMES = ("metrics", "http")


def target_groups(pods: Iterable[Obj]) -> list[dict[str, Any]]:
    """Prometheus' target groups: one for every running pod of an inference pool, by name."""
    running = (pod for pod in pods if pod.get("status", {}).get("phase") == "Running")
    groups = (_group(pod) for pod in running)
    return sorted((group for group in groups if group), key=lambda group: str(group["labels"]))


def _group(pod: Obj) -> dict[str, Any] | None:
    metadata, address = pod["metadata"], pod["status"].get("podIP")
    pool = (metadata.get("labels") or {}).get(POOL_LABEL)
    port = _port(pod)
    if not (pool and port and address):
        return None
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"], "inference_pool": pool}
    return {"targets": [f"{address}:{port}"], "labels": labels}


def _port(pod: Obj) -> int | None:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    named = [port for port in ports if port.get("name") in PORT_NAMES]
    return next((int(port["containerPort"]) for port in named + ports), None)
