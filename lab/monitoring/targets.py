"""Which pods are scraped, and with which labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.gateway.picker.command import METRICS_PORT, pool_of
from lab.kube.objects import Obj

POOL_LABEL = "inference-pool"
PORT_NAMES = ("metrics", "http")
MODEL_SERVERS, PICKERS = JOBS = ("vllm", "epp")

Groups = list[dict[str, Any]]


def target_groups(pods: Iterable[Obj]) -> dict[str, Groups]:
    """Prometheus' target groups by job: one for every running pod of an inference pool, by name."""
    by_job: dict[str, Groups] = {job: [] for job in JOBS}
    for pod in pods:
        if pod.get("status", {}).get("phase") != "Running" or not pod["status"].get("podIP"):
            continue
        if picked := pool_of(pod):
            by_job[PICKERS].append(_group(pod, picked[1], METRICS_PORT))
        elif (pool := (pod["metadata"].get("labels") or {}).get(POOL_LABEL)) and (port := _port(pod)):
            by_job[MODEL_SERVERS].append(_group(pod, pool, port))
    return {job: sorted(groups, key=lambda group: str(group["labels"])) for job, groups in by_job.items()}


def _group(pod: Obj, pool: str, port: int) -> dict[str, Any]:
    metadata = pod["metadata"]
    labels = {"namespace": metadata["namespace"], "pod": metadata["name"], "inference_pool": pool}
    return {"targets": [f"{pod['status']['podIP']}:{port}"], "labels": labels}


def _port(pod: Obj) -> int | None:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    named = [port for port in ports if port.get("name") in PORT_NAMES]
    return next((int(port["containerPort"]) for port in named + ports), None)
