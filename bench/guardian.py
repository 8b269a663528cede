"""What a guardian costs: `python -m bench.guardian` lets one see to many claims on an API server of the lab.

First all are watched by others, as while Airflow works; then by nobody, so that it watches them all itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from inference_rollouts.clients.kubeconfig import connect
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.objects.api_groups import GATEWAY_API, POOL_APIS
from inference_rollouts.core.objects.k8s import annotations_of
from inference_rollouts.core.routing.claim import CLAIM, Claim, Guard, Owner, place_of
from inference_rollouts.core.routing.watch import renewed_lease
from lab.host.state import CHECKOUT
from lab.kube.client import Kube
from lab.kube.objects import path_of

POOLS, PODS = ("llm-pool", "llm-pool-version-2"), 3
RENEWAL = 5.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one guardian: share of a core, memory in MB."""

    cores: float
    megabytes: float


@contextmanager
def api_server(folder: Path) -> Iterator[KubernetesCluster]:
    """An API server alone, and a client of it."""
    argv = [sys.executable, "-m", "lab.apiserver", "--port", "0", "--dir", str(folder)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield KubernetesCluster(partial(connect, folder / "kubeconfig"), "default")
        finally:
            process.terminate()


def claimed_route(cluster: KubernetesCluster, number: int) -> dict[str, Any]:
    """A route with two rules whose canary has 20 %."""
    spec = {"rules": [_rule(path) for path in ("/v1/chat", "/v1/completions")]}
    route = cluster.apply(_object(GATEWAY_API, "HTTPRoute", f"route-{number}", spec))
    claim = Claim(
        token=f"{number:032x}",
        owner=Owner(run=f"rollout_llm/run-{number}"),
        plan="llm",
        stable=POOLS[0],
        canary=POOLS[1],
        steps=4,
        step=2,
        percent=20,
        places=tuple(place_of(route, f"/spec/rules/{place}") for place in range(2)),
        guard=Guard(stable_pool=POOLS[0], canary_pool=POOLS[1], pods=PODS),
    )
    note = {"op": "add", "path": "/metadata/annotations", "value": {CLAIM: claim.to_json()}}
    return dict(cluster.patch(GATEWAY_API, "HTTPRoute", route["metadata"]["name"], [note])) | {"claim": claim}


async def pools(folder: Path, cluster: KubernetesCluster) -> None:
    """Both pools, each with ready pods."""
    async with Kube.from_kubeconfig(folder / "kubeconfig") as kube:
        for name in POOLS:
            labels = {"inference-pool": name}
            picker = {"name": f"{name}-epp", "port": {"number": 9002}, "failureMode": "FailOpen"}
            spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "targetPorts": [{"number": 8000}]}
            spec["endpointPickerRef"] = picker
            cluster.apply(_object(POOL_APIS[0], "InferencePool", name, spec))
            for number in range(PODS):
                pod = _object("v1", "Pod", f"{name}-{number}", {"containers": [{"name": "a", "image": "a"}]})
                pod["metadata"]["labels"] = labels
                cluster.apply(pod)
                ready = {"conditions": [{"type": "Ready", "status": "True"}]}
                path = path_of("Pod", cluster.namespace, pod["metadata"]["name"])
                await kube.patch(f"{path}/status", {"status": ready})


def _object(api: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _rule(path: str) -> dict[str, Any]:
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool"}
    both = [pool | {"name": name, "weight": weight} for name, weight in zip(POOLS, (80, 20), strict=True)]
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": both}


def renew_all(cluster: KubernetesCluster, routes: list[dict[str, Any]], end: threading.Event) -> None:
    """As triggers do, until told to end."""
    while not end.wait(RENEWAL):
        for route in routes:
            cluster.apply(renewed_lease(route, route["claim"], "triggerer", None, cluster.time()))


def measure(folder: Path, seconds: float) -> Cost:
    """What a guardian costs from its third round on."""
    argv = [sys.executable, "-m", "inference_rollouts", "guardian", f"--kubeconfig={folder / 'kubeconfig'}"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "plugins")}
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(3 * RENEWAL)
            began, before = time.monotonic(), _cpu(process.pid)
            memory = []
            while time.monotonic() - began < seconds:
                time.sleep(1.0)
                memory.append(_resident(process.pid))
            used = (_cpu(process.pid) - before) / (time.monotonic() - began)
        finally:
            process.terminate()
    return Cost(used, statistics.median(memory) / 1e6)


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a guardian costs.")
    parser.add_argument("--claims", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=40.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-guardian-") as name, api_server(Path(name)) as cluster:
        asyncio.run(pools(Path(name), cluster))
        routes = [claimed_route(cluster, number) for number in range(args.claims)]
        end = threading.Event()
        watchers = threading.Thread(target=renew_all, args=(cluster, routes, end), daemon=True)
        watchers.start()
        time.sleep(2 * RENEWAL)
        watched = measure(Path(name), args.seconds)
        end.set()
        watchers.join()
        alone = measure(Path(name), args.seconds)
        left = sum(CLAIM in annotations_of(each) for each in cluster.select(GATEWAY_API, "HTTPRoute"))
        assert left == args.claims, f"{args.claims - left} rollouts were ended"
    for who, cost in (("others watch", watched), ("nobody else watches", alone)):
        print(f"{args.claims} claims, {who}: {100 * cost.cores:.1f} % of a core, {cost.megabytes:.0f} MB")


if __name__ == "__main__":
    main()
