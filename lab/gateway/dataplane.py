"""Bringing Envoy to a plan in an order that never leaves a request without a cluster."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.gateway.compile import Plan
from lab.gateway.envoy import Admin, Rejected, write_atomically
from lab.gateway.model import Target
from lab.gateway.xds import cluster, listener, load_assignment, route_table, route_table_name
from lab.kube.objects import Obj

PodsOf = Callable[[str], Iterable[Obj]]

LINGER = 2.0  # seconds that a cluster stays without a route: who waits for a picker still goes there


class DataPlane:
    """The files of one Envoy in `home`. `pods_of(namespace)` tells the pods that exist now.

    Endpoints are written as soon as pods change, without waiting for anything; the rest by `bring_to`.
    `now` gives seconds.
    """

    def __init__(
        self, home: Path, address: str, pods_of: PodsOf, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.admin = Admin(home)
        self._home = home
        self._address = address
        self._pods_of = pods_of
        self._now = now
        self._targets: dict[str, Target] = {}
        self._unrouted: dict[str, float] = {}  # targets without a route, and since when
        self._written: dict[Path, str] = {}

    def refresh_endpoints(self, namespace: str | None = None) -> None:
        """Write the endpoints that have changed, of one namespace or of all."""
        for target in self._targets.values():
            if namespace in (None, target.namespace):
                resource = load_assignment(target, self._pods_of(target.namespace))
                self._write(self._endpoints_file(target.name), [resource])

    async def bring_to(self, plan: Plan) -> None:
        """Make `plan` Envoy's configuration, and return once it is in force.

        New clusters come before the routes that name them; old ones go LINGER after, by a later call. Raises
        Rejected if Envoy refused (what it refused is taken back), Unconfirmed if it does not answer.
        """
        await self.admin.check_alive()
        self._targets |= plan.targets
        self.refresh_endpoints()
        await self._publish_clusters()
        await self._publish_listeners(list(plan.ports))
        for port, hosts in plan.tables.items():
            name = route_table_name(port)
            table = [route_table(port, hosts)]
            await self._publish(self._routes_file(port), f"http.{name}.rds.{name}", table)
        self._targets = self._still_wanted(plan)
        await self._publish_clusters()
        self._remove_old_files(plan)

    def _still_wanted(self, plan: Plan) -> dict[str, Target]:
        now = self._now()
        others = self._targets.keys() - plan.targets.keys()
        self._unrouted = {name: self._unrouted.get(name, now) for name in others}
        lingering = {name for name, since in self._unrouted.items() if now < since + LINGER}
        return {**plan.targets, **{name: self._targets[name] for name in sorted(lingering)}}

    async def close(self) -> None:
        """Close connections to Envoy."""
        await self.admin.close()

    async def _publish_clusters(self) -> None:
        clusters = [
            cluster(target, str(self._endpoints_file(name))) for name, target in sorted(self._targets.items())
        ]
        await self._publish(self._home / "cds.json", "cluster_manager.cds", clusters)
        await self.admin.clusters_warm()

    async def _publish_listeners(self, ports: list[int]) -> None:
        """A new listener starts with an empty route table, which answers 404."""
        for port in ports:
            if not self._routes_file(port).exists():
                self._write(self._routes_file(port), [route_table(port, {})])
        listeners = [listener(self._address, port, str(self._routes_file(port))) for port in ports]
        await self._publish(self._home / "lds.json", "listener_manager.lds", listeners)

    async def _publish(self, path: Path, subscription: str, resources: list[Obj]) -> None:
        before = _read(path)
        rejections = await self.admin.rejections(subscription)
        self._write(path, resources)
        try:
            await self.admin.confirm(subscription, self._written[path], rejections)
        except Rejected:
            del self._written[path]
            if before is not None:
                write_atomically(path, before)
            raise

    def _write(self, path: Path, resources: list[Obj]) -> None:
        version = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:12]
        if self._written.get(path) != version or not path.exists():
            write_atomically(path, {"version_info": version, "resources": resources})
            self._written[path] = version

    def _endpoints_file(self, cluster_name: str) -> Path:
        return self._home / "eds" / f"{cluster_name}.json"

    def _routes_file(self, port: int) -> Path:
        return self._home / f"rds-{port}.json"

    def _remove_old_files(self, plan: Plan) -> None:
        used = {self._endpoints_file(name) for name in self._targets}
        used |= {self._routes_file(port) for port in plan.ports}
        for path in [*self._home.glob("eds/*.json"), *self._home.glob("rds-*.json")]:
            if path not in used:
                path.unlink()
                self._written.pop(path, None)


def _read(path: Path) -> Obj | None:
    return json.loads(path.read_text()) if path.exists() else None
