"""Three services behind one gateway, and their plans for the night."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from lab.cluster.initial import initial_objects
from lab.host.state import CHECKOUT
from lab.kube.objects import Obj

REPOSITORY = "vllm/vllm-openai"
POOL, ROUTE = "llm-pool", "routes-to-llm"
HEADER = "x-service"
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its first version of the night, when it may move, and what must become of it.

    `nights` are the windows as minutes after the first one opens; `bakes` how long each step bakes (seconds).
    `airflow_pool` lets so many rollouts run at once as it has slots.
    """

    name: str
    tag: str
    outcome: str
    bakes: tuple[int, ...]
    nights: tuple[tuple[int, int], ...] = ((0, 4),)
    airflow_pool: str = ""

    @property
    def first(self) -> bool:
        """Whether it is the one that the lab starts with, for whoever says nothing else."""
        return self.name == "chat"

    @property
    def pool(self) -> str:
        return POOL if self.first else f"{self.name}-pool"

    @property
    def route(self) -> str:
        return ROUTE if self.first else f"routes-to-{self.name}"

    @property
    def dag_id(self) -> str:
        return f"rollout_{self.name}"

    @property
    def asset(self) -> str:
        return f"{self.name}-versions"

    @property
    def version(self) -> dict[str, str]:
        """What the event says of the version. The lab has no registry: the digest is made up."""
        return {"name": self.tag, "digest": f"sha256:{hashlib.sha256(self.tag.encode()).hexdigest()}"}


SERVICES = (
    Service("chat", "v0.32.0", "promoted", bakes=(6, 6)),
    Service("code", "v0.32.0-slow", "rolled back", bakes=(10, 6), airflow_pool="rollouts"),
    Service("search", "v0.32.0", "promoted", bakes=(60, 6), nights=((0, 1), (2, 5))),
)


def objects_of(service: Service) -> list[Obj]:
    """A pool with servers, a picker and a route of its own, like those that the lab starts with."""
    copied = [copy.deepcopy(obj) for obj in initial_objects() if POOL in yaml.safe_dump(obj)]
    renamed = [yaml.safe_load(yaml.safe_dump(obj).replace(POOL, service.pool)) for obj in copied]
    kinds = {"Deployment", "Service", "InferencePool", "HTTPRoute"}
    made = [obj for obj in renamed if obj["kind"] in kinds]
    for obj in made:
        if obj["metadata"]["name"] == service.pool and obj["kind"] == "Deployment":
            obj["spec"]["replicas"] = 2
        if obj["kind"] == "HTTPRoute":
            obj["metadata"]["name"] = service.route
            for rule in obj["spec"]["rules"]:
                for match in rule["matches"]:
                    match["headers"] = [{"name": HEADER, "value": service.name}]
    return made


def plan_of(service: Service, opens: float) -> dict[str, Any]:
    """The project's plan for pools, for this service and its nights, the first of which `opens` then."""
    plan: dict[str, Any] = yaml.safe_load((CHECKOUT / "include" / "rollouts" / "llm.yaml").read_text())
    weights = (50, 100)
    return plan | {
        "name": service.name,
        "description": f"The service {service.name}, overnight.",
        "routes": [{"name": service.route}],
        "stable": "current",
        "canary": f"{service.name}-{{version}}",
        "versions": {"source": {"from": "event", "asset": service.asset}},
        "workload": plan["workload"]
        | {"image": f"{REPOSITORY}:{{version}}@{{digest}}", "replicas": 3 if service.first else 2},
        "steps": [
            {"weight": weight, "bake": f"{bake}s"}
            for weight, bake in zip(weights, service.bakes, strict=True)
        ],
        "windows": _windows(service.nights, opens),
        "at_window_end": "stay",
        "airflow_pool": service.airflow_pool or None,
        # At so few requests a proof of being good enough, which promotion asks for, takes ten minutes.
        "analysis": {"interval": "2s", "margin": None},
    }


def _windows(nights: Sequence[tuple[int, int]], opens: float) -> list[Mapping[str, Any]]:
    def clock(minutes: int) -> str:
        return f"{datetime.fromtimestamp(opens + minutes * MINUTE, UTC):%H:%M}"

    return [{"from": clock(first), "to": clock(last), "timezone": "UTC"} for first, last in nights]
