"""A running lab, this process's way to it, and rollouts in it whose tasks are called by hand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import requests
import yaml

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.checks import check_now
from inference_rollouts.rollout.run import Run
from lab.airflow.settings import connections
from lab.host.state import CHECKOUT, StateDirectory
from lab.lifecycle.foreign import Foreign
from lab.lifecycle.up import Startup, down
from lab.monitoring.binary import find_prometheus

if TYPE_CHECKING:  # what imports Airflow is imported late: Airflow then reads its environment
    from inference_rollouts.triggers.judge import JudgeTrigger

RATE = 80.0  # requests/s of all clients
ROUTE = (GATEWAY_API, "HTTPRoute", "routes-to-llm")
PATIENCE = 120.0  # seconds that anything may take on a busy machine


class Stage:
    """A lab that is up. Connections in this process's environment lead to it."""

    def __init__(self, directory: StateDirectory, record: Mapping[str, Any]) -> None:
        from inference_rollouts.hooks.clients import clients_of

        self.directory = directory
        self.record = record
        self.clients = clients_of(example("llm"))

    @property
    def cluster(self) -> Cluster:
        return self.clients.cluster

    def freeze(self, plan: Plan, run: str) -> Run:
        """A run as its preflight leaves it."""
        return self.open_run(kind_of(plan).freeze(self.clients, run))

    def open_run(self, frozen: Frozen) -> Run:
        return Run(frozen, self.clients, kind_of(frozen.plan))

    def deploy(self, run: Run) -> None:
        """Bring up the canary of a run to a pool, and return once each of its pods is ready and scraped."""
        plan = run.plan.as_pool_plan
        for manifest in run.frozen.manifests:
            self.cluster.apply(manifest)
        until(lambda: ready(run, "workloads"), "the canary's pods")
        until(lambda: len(self.scrapes(plan.canary)) == plan.workload.replicas, "their first scrapes")

    def scrapes(self, pool: str, at: float | None = None) -> list[float]:
        """When each pod of a pool was last scraped, as of `at` (Unix time), else of now."""
        asked = f'timestamp(up{{job="vllm", inference_pool="{pool}"}})'
        series = self.clients.prometheus.query(asked, time.time() if at is None else at)
        return [float(each["value"][1]) for each in series]

    def pods(self, pool: str) -> list[K8sObject]:
        return self.cluster.select("v1", "Pod", {"inference-pool": pool})

    def fault(self, pool: str, **shares: float) -> None:
        """From now on these shares of the requests to the pods of a pool go wrong, by `Fault`."""
        for server in self.servers(pool):
            answer = requests.post(f"{server}/lab/faults", json=shares, timeout=30)
            answer.raise_for_status()

    def servers(self, pool: str) -> list[str]:
        """The base URL of each pod of a pool."""
        return [f"http://{pod['status']['podIP']}:8000" for pod in self.pods(pool)]

    def ask(self, model: str = "llama-3.1-8b", **headers: str) -> int:
        """The status of the gateway's answer to one request more."""
        asked = {"model": model, "prompt": "Say hello.", "max_tokens": 4}
        url = f"{self.record['gateway']['url']}/v1/completions"
        return requests.post(url, json=asked, headers=headers, timeout=30).status_code

    def route(self) -> K8sObject:
        return self.cluster.get(*ROUTE)

    def weights(self) -> dict[str, int]:
        return {ref["name"]: ref["weight"] for ref in self.route()["spec"]["rules"][0]["backendRefs"]}

    def traffic(self) -> dict[str, Any]:
        """What the clients say of themselves: `sent`, `in_flight`, `totals`..."""
        answer = requests.get(f"{self.record['loadgen']['url']}/stats", timeout=30)
        answer.raise_for_status()
        return dict(answer.json())

    def set_rate(self, rate: float) -> None:
        """Requests/s of all clients from now on."""
        answer = requests.post(f"{self.record['loadgen']['url']}/rate", json={"rate": rate}, timeout=30)
        answer.raise_for_status()

    def set_patience(self, seconds: float) -> None:
        """How long clients wait for a whole answer from now on."""
        url = f"{self.record['loadgen']['url']}/patience"
        requests.post(url, json={"seconds": seconds}, timeout=30).raise_for_status()

    def until_ended(self, requests: int) -> None:
        """Return when so many requests of clients, since the lab began, have ended."""
        until(lambda: self.traffic()["totals"]["ended"] >= requests, f"{requests} ended requests")

    def until_served(self, requests: int) -> None:
        """Return when clients have gone on: so many requests that they had yet to send have ended."""
        self.until_ended(self.traffic()["sent"] + requests)


def example(name: str, **changes: Any) -> Plan:
    """A plan that comes with the project, with these changes; mappings keep what is not changed in them."""
    plan = yaml.safe_load((CHECKOUT / "include" / "rollouts" / f"{name}.yaml").read_text())
    for key, value in changes.items():
        merge = isinstance(value, dict) and isinstance(plan.get(key), dict)
        plan[key] = plan[key] | value if merge else value
    return parse_plan(plan)


def ready(run: Run, check: str) -> bool:
    """Whether a check of the run is ready now."""
    return check_now(run, check).phase is Phase.READY


async def judgement(trigger: JudgeTrigger) -> dict[str, Any]:
    """What a judge says in the end."""
    [event] = [event.payload async for event in trigger.run()]
    return dict(event["judgement"])


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE, poll: float = 0.2) -> None:
    """Poll until something is true; AssertionError when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(poll)


@contextmanager
def stage(folder: Path, foreign: Foreign | None = None) -> Iterator[Stage]:
    """A lab in `folder` while the context lasts. Airflow's environment must be set up already."""
    directory = StateDirectory(folder)
    lab = Startup(directory, RATE, find_prometheus(), lambda _: None, foreign=foreign)
    asyncio.run(lab.run())
    try:
        with patch.dict(os.environ, connections(directory.kubeconfig, lab.record["prometheus"]["url"])):
            yield Stage(directory, lab.record)
    finally:
        down(directory)
