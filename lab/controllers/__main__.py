"""`python -m lab.controllers`: run every controller against one API server."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import Any

from lab.controllers.deployments import Deployments
from lab.controllers.garbage import Garbage
from lab.controllers.loop import Loop
from lab.controllers.nodes import Nodes
from lab.controllers.replicasets import ReplicaSets
from lab.controllers.scheduler import Scheduler
from lab.controllers.store import Store
from lab.gateway import controller as gateway
from lab.kube import Kube

KINDS = {
    "Node",
    "Pod",
    "ReplicaSet",
    "Deployment",
    *gateway.KINDS,
}


async def run(options: argparse.Namespace) -> None:
    """Run until cancelled."""
    async with Kube.from_kubeconfig(options.kubeconfig) as kube, asyncio.TaskGroup() as group:
        store = Store(kube, KINDS, options.namespace)
        nodes = Nodes(store, options.evict_after)
        front = gateway.GatewayController(store, options.dir.absolute() / "envoy", options.gateway_address)
        loops: list[Loop[Any]] = [
            Deployments(store).loop,
            ReplicaSets(store).loop,
            Scheduler(store).loop,
            nodes.loop,
            nodes.orphans,
            Garbage(store).loop,
            front.loop,
            front.status_loop,
        ]
        store.watch_all(group)
        await store.synced()
        for loop in loops:
            group.create_task(loop.run())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m lab.controllers", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="state directory; Envoy's files live in it")
    parser.add_argument("--gateway-address", default="127.0.0.1", help="address that gateways listen on")
    parser.add_argument("--namespace", help="only objects of this namespace (all by default)")
    parser.add_argument(
        "--evict-after",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long pods stay bound to a node that is not ready",
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
