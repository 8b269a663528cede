"""What the gateway looks at, and the names it gives things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.kube.objects import Obj

CONTROLLER_NAME = "networking.gke.io/gateway"
GATEWAY_GROUP = "gateway.networking.k8s.io"
POOL_GROUP = "inference.networking.k8s.io"
INVALID_BACKEND = "invalid-backend"

Name = tuple[str, str]
Conditions = list[dict[str, Any]]


class Unsupported(ValueError):
    """The route asks for something this gateway cannot do; the message says what."""


@dataclass(frozen=True, slots=True)
class World:
    """A snapshot of the cluster: only gateways of our class, everything by `(namespace, name)`.

    With `pickers`, each pool's endpoint picker is asked for the endpoint of every request.
    """

    gateways: Mapping[Name, Obj]
    routes: Mapping[Name, Obj]
    pools: Mapping[Name, Obj]
    services: Mapping[Name, Obj]
    pickers: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Where a cluster's endpoints come from: pods of `namespace` with `labels`, on `ports`.

    A port is a number, or the name of a container port. `picker` chooses among the endpoints; without
    one, or while it does not answer and `fail_open`, Envoy chooses by itself. `lost` percent of the requests
    go nowhere; statistics are under `stat_name`, by default the name.
    """

    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[int | str, ...]
    http2: bool = False
    picker: Target | None = None
    fail_open: bool = False
    lost: int = 0
    stat_name: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a backendRef refers to: a target, or the reason why it is invalid."""

    target: Target | None
    reason: str = "ResolvedRefs"
    message: str = "All object references are resolved"


@dataclass(slots=True)
class Attachment:
    """One parentRef of a route that names one of our gateways, and what came of it."""

    route: Obj
    parent: Obj
    gateway: Obj
    listeners: list[Obj] = field(default_factory=list)
    reason: str = "Accepted"
    message: str = "Route is accepted"

    @property
    def accepted(self) -> bool:
        """Whether the route takes part in the gateway's configuration."""
        return self.reason == "Accepted"


def pool_cluster(namespace: str, name: str) -> str:
    """The Envoy cluster of an InferencePool (object names contain no underscore)."""
    return f"{namespace}_{name}"


def service_cluster(namespace: str, name: str, port: int) -> str:
    """The Envoy cluster of one port of a Service."""
    return f"{namespace}_{name}_{port}"
