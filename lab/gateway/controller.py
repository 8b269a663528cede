"""The gateway controller: watches objects, brings Envoy to them, then tells in their statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lab.gateway.compile import Plan, check, compile_world
from lab.gateway.dataplane import DataPlane
from lab.gateway.envoy import Rejected, Unconfirmed, validate
from lab.gateway.model import CONTROLLER_NAME, Name, Unsupported, World
from lab.gateway.reporter import Report, Reporter
from lab.gateway.xds import route_table
from lab.kube.objects import Obj, key_of
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

log = logging.getLogger(__name__)

KINDS = ("GatewayClass", "Gateway", "HTTPRoute", "InferencePool", "Service", "Pod")
LOOK_AGAIN = 5.0
RETRY = 0.5
ALL = "all"

# Annotations of a Gateway, in seconds: how slowly this gateway works, as real ones do.
PROPAGATION_DELAY = "lab.inference-rollouts.dev/propagation-delay"
CONDITION_DELAY = "lab.inference-rollouts.dev/condition-delay"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one generation of a route is not in force."""

    generation: int
    message: str


class GatewayController:
    """Serves the Gateways whose class is of `CONTROLLER_NAME` with one Envoy, on one address.

    A route that cannot be served is refused alone: what was in force of it before stays in force, and
    the other routes go on changing. With `pickers`, pools' endpoint pickers choose the endpoints.
    """

    def __init__(self, store: Store, home: Path, address: str, pickers: bool = False) -> None:
        self._store = store
        self._home = home
        self._pickers = pickers
        self._plane = DataPlane(home, address, lambda namespace: store["Pod"].list(namespace))
        self._reporter = Reporter(store, address)
        self._accepted: dict[str, Obj] = {}
        self._refused: dict[str, Refusal] = {}
        self._plan: Plan | None = None
        self.loop: Loop[str] = Loop("gateway", self._reconcile)
        self.status_loop = self._reporter.loop
        for kind in KINDS[:-1]:
            store[kind].subscribe(self._changed)
        store.on_change("Pod", lambda pod: self._plane.refresh_endpoints(pod["metadata"]["namespace"]))

    def _changed(self, before: Obj | None, after: Obj | None) -> None:
        if before and after and _essence(before) == _essence(after):
            self._reporter.loop.add(ALL)
        else:
            self.loop.add(ALL)

    async def _reconcile(self, _: str) -> float:
        world = self._world()
        try:
            self._refuse_unsupported(world)
            plan = compile_world(self._in_force(world))
            if self._plan not in (None, plan):
                await asyncio.sleep(_delay(world, PROPAGATION_DELAY))
            await self._bring_to(world, plan)
        except (Unconfirmed, Rejected) as error:
            self._reporter.trouble(world, str(error))
            return RETRY
        self._accept(world)
        report = Report(world, self._plan.ports if self._plan else {}, self._refusals(world))
        self._reporter.tell_in(_delay(world, CONDITION_DELAY), report)
        return LOOK_AGAIN

    def _world(self) -> World:
        ours = {
            key_of(each)[1]
            for each in self._store["GatewayClass"].items.values()
            if each["spec"]["controllerName"] == CONTROLLER_NAME
        }
        gateways = self._store["Gateway"].items
        return World(
            gateways={
                key: each for key, each in gateways.items() if each["spec"]["gatewayClassName"] in ours
            },
            routes=dict(self._store["HTTPRoute"].items),
            pools=dict(self._store["InferencePool"].items),
            services=dict(self._store["Service"].items),
            pickers=self._pickers,
        )

    async def _bring_to(self, world: World, plan: Plan) -> None:
        try:
            await self._plane.bring_to(plan)
        except Rejected as error:
            if not await self._refuse_rejected(world, str(error)):
                raise
            plan = compile_world(self._in_force(world))
            await self._plane.bring_to(plan)
        self._plan = plan

    def _refuse_unsupported(self, world: World) -> None:
        for route in self._fresh(world):
            try:
                check(world, route)
            except Unsupported as error:
                self._refuse(route, str(error))

    async def _refuse_rejected(self, world: World, message: str) -> bool:
        """Find the new routes that Envoy cannot take; False if the trouble is not with routes."""
        fresh = self._fresh(world)
        guilty = [(route, why) for route in fresh if (why := await self._objection(world, route))]
        for route, why in guilty or [(route, message) for route in fresh]:
            self._refuse(route, why)
        return bool(fresh)

    async def _objection(self, world: World, route: Obj) -> str | None:
        plan = compile_world(replace(world, routes={key_of(route): route}))
        for port, hosts in plan.tables.items():
            if why := await validate(self._home, route_table(port, hosts)):
                return f"Envoy: {why}"
        return None

    def _refuse(self, route: Obj, message: str) -> None:
        log.warning("HTTPRoute %s: %s", "/".join(key_of(route)), message)
        self._refused[route["metadata"]["uid"]] = Refusal(route["metadata"]["generation"], message)

    def _fresh(self, world: World) -> list[Obj]:
        """The routes of which the current generation has neither been accepted nor refused."""
        return [
            route
            for route in world.routes.values()
            if not self._is_refused(route)
            and self._accepted.get(route["metadata"]["uid"], {}).get("metadata", {}).get("generation")
            != route["metadata"]["generation"]
        ]

    def _is_refused(self, route: Obj) -> bool:
        refusal = self._refused.get(route["metadata"]["uid"])
        return refusal is not None and refusal.generation == route["metadata"]["generation"]

    def _in_force(self, world: World) -> World:
        """The world with each refused route as it last was accepted, if ever."""
        routes: dict[Name, Obj] = {}
        for key, route in world.routes.items():
            if not self._is_refused(route):
                routes[key] = route
            elif accepted := self._accepted.get(route["metadata"]["uid"]):
                routes[key] = accepted
        return replace(world, routes=routes)

    def _accept(self, world: World) -> None:
        routes = self._in_force(world).routes.values()
        self._accepted = {route["metadata"]["uid"]: route for route in routes}
        living = {route["metadata"]["uid"] for route in world.routes.values()}
        self._refused = {uid: refusal for uid, refusal in self._refused.items() if uid in living}

    def _refusals(self, world: World) -> Mapping[Name, str]:
        return {
            key: self._refused[route["metadata"]["uid"]].message
            for key, route in world.routes.items()
            if self._is_refused(route)
        }


def _essence(obj: Obj) -> tuple[object, ...]:
    """What of an object concerns the gateway: not its status, which is ours, nor notes on a route."""
    metadata = obj["metadata"]
    notes = metadata.get("annotations") if obj["kind"] == "Gateway" else None
    return metadata["uid"], metadata.get("generation"), obj.get("spec"), notes


def _delay(world: World, annotation: str) -> float:
    """The longest delay that a gateway's annotation asks for; nonsense counts as none."""
    delays = [0.0]
    for gateway in world.gateways.values():
        text = (gateway["metadata"].get("annotations") or {}).get(annotation, "0")
        try:
            delays.append(float(text))
        except ValueError:
            log.warning("annotation %s=%r is not a number of seconds", annotation, text)
    return max(delays)
