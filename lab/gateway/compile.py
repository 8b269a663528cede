"""A world of objects -> what Envoy should have: the whole of the gateway's policy, without I/O."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from lab.gateway.attachment import attachments, hostnames, listener_trouble
from lab.gateway.backends import references, resolve
from lab.gateway.losses import nowhere
from lab.gateway.model import Attachment, Name, Target, World
from lab.gateway.routes import Ranked, envoy_routes
from lab.kube.clock import created
from lab.kube.objects import Obj, key_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What Envoy should have: the owning gateway of each listener port, the targets of its clusters by
    name, and the routes of each port by host name.
    """

    ports: dict[int, Name]
    targets: dict[str, Target]
    tables: dict[int, dict[str, list[Ranked]]]


def compile_world(world: World) -> Plan:
    """The plan for a world; Unsupported if a route asks for what this gateway cannot do."""
    ports = owned_ports(world)
    targets: dict[str, Target] = {}
    tables: dict[int, dict[str, list[Ranked]]] = {port: defaultdict(list) for port in ports}
    for attachment in attachments(world):
        if not attachment.accepted:
            continue
        route = attachment.route
        for reference in references(route):
            target = resolve(world, route, reference).target
            if target:
                lost = nowhere(target) if target.lost else None
                targets |= {each.name: each for each in (target, target.picker, lost) if each}
        _add_routes(world, attachment, ports, tables)
    return Plan(ports, targets, tables)


def check(world: World, route: Obj) -> None:
    """Raise Unsupported if `route` asks for what this gateway cannot do."""
    envoy_routes(route, lambda reference: resolve(world, route, reference))


def owned_ports(world: World) -> dict[int, Name]:
    """Which gateway has each port: there is one address, so the oldest gateway wins."""
    ports: dict[int, Name] = {}
    for gateway in sorted(world.gateways.values(), key=created):
        for listener in gateway["spec"]["listeners"]:
            if listener_trouble(listener) is None:
                ports.setdefault(listener["port"], key_of(gateway))
    return ports


def _add_routes(
    world: World,
    attachment: Attachment,
    ports: dict[int, Name],
    tables: dict[int, dict[str, list[Ranked]]],
) -> None:
    route = attachment.route
    ranked = envoy_routes(route, lambda reference: resolve(world, route, reference))
    for listener in attachment.listeners:
        if ports[listener["port"]] != key_of(attachment.gateway):
            continue
        for host in hostnames(listener, route):
            table = tables[listener["port"]][host]
            table.extend(each for each in ranked if each not in table)
