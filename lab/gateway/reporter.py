"""Writes what the gateway has made of the objects into their statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lab.gateway.attachment import attachments
from lab.gateway.model import CONTROLLER_NAME, Name, World
from lab.gateway.statuses import (
    class_status,
    gateway_status,
    merge_parents,
    pool_parents,
    route_parents,
    settle_gateway,
)
from lab.kube.client import KubeError
from lab.kube.clock import now
from lab.kube.objects import Obj
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

log = logging.getLogger(__name__)

MANAGER = "gateway-controller"


@dataclass(frozen=True, slots=True)
class Report:
    """The world that is in force, the owners of its ports, and the routes refused, with the reasons."""

    world: World
    ports: Mapping[int, Name]
    refused: Mapping[Name, str]


class Reporter:
    """Keeps the statuses of routes, pools and gateways as the last report says.

    While Envoy is in trouble only the gateways tell: conditions of a generation that is not in force
    are never written.
    """

    def __init__(self, store: Store, address: str) -> None:
        self._store = store
        self._address = address
        self._report: Report | None = None
        self._trouble: tuple[World, str] | None = None
        self.loop: Loop[str] = Loop("gateway status", self._write)

    def tell_in(self, seconds: float, report: Report) -> None:
        """Write what `report` says, `seconds` from now."""
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._tell, report)
        else:
            self._tell(report)

    def _tell(self, report: Report) -> None:
        self._report, self._trouble = report, None
        self.loop.add("all")

    def trouble(self, world: World, message: str) -> None:
        """The gateways of `world` are not programmed, for the reason in `message`."""
        if self._trouble is None or self._trouble[1] != message:
            log.warning("not programmed: %s", message)
        self._trouble = world, message
        self.loop.add("all")

    async def _write(self, _: str) -> None:
        failures = []
        for obj, status in [*self._class_statuses(), *self._gateway_statuses(), *self._parent_statuses()]:
            try:
                await self._store.write_status(obj, status, MANAGER)
            except KubeError as error:
                if error.status != 404:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _class_statuses(self) -> Iterator[tuple[Obj, Obj]]:
        for each in list(self._store["GatewayClass"].items.values()):
            if each["spec"]["controllerName"] == CONTROLLER_NAME:
                yield each, class_status(each, now())

    def _gateway_statuses(self) -> Iterator[tuple[Obj, Obj]]:
        report, message = self._report, ""
        if self._trouble:
            world, message = self._trouble
            report = Report(world, report.ports if report else {}, {})
        if report is None:
            return
        attached = attachments(report.world)
        for key, gateway in report.world.gateways.items():
            if current := _same(self._store["Gateway"].get(*key), gateway):
                status = gateway_status(gateway, attached, report.ports, self._address, message)
                before = current.get("status", {})
                yield current, {**before, **settle_gateway(before, status, now())}

    def _parent_statuses(self) -> Iterator[tuple[Obj, Obj]]:
        if self._report is None:
            return
        world = self._report.world
        attached = attachments(world)
        parents_of_routes = route_parents(world, attached, self._report.refused)
        parents_of_pools = pool_parents(world, attached)
        for kind, objects, parents in (
            ("HTTPRoute", world.routes, parents_of_routes),
            ("InferencePool", world.pools, parents_of_pools),
        ):
            for key, ours in parents.items():
                if current := _same(self._store[kind].get(*key), objects[key]):
                    before = current.get("status", {})
                    merged = merge_parents(before.get("parents") or [], ours, now())
                    if merged != (before.get("parents") or []):
                        yield current, {**before, "parents": merged}


def _same(current: Obj | None, told: Obj) -> Obj | None:
    """The object as it is now, if it still is the one that was told about."""
    return current if current and current["metadata"]["uid"] == told["metadata"]["uid"] else None
