"""`python -m lab.manager`: run every controller against one API server."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.controllers.autoscaler import Autoscaler
from lab.controllers.deployments import Deployments
from lab.controllers.garbage import Garbage
from lab.controllers.nodes import Nodes
from lab.controllers.replicasets import ReplicaSets
from lab.controllers.scheduler import Scheduler
from lab.gateway import controller as gateway
from lab.kube.client import Kube
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store
from lab.scope import HOME, REPLACEABLE

WORKLOAD_KINDS = ("Node", "Pod", "ReplicaSet", "Deployment")


async def run(client: Kube, options: argparse.Namespace) -> None:
    """Run until cancelled."""
    async with client as kube, asyncio.TaskGroup() as group:
        kinds = {*WORKLOAD_KINDS, *gateway.KINDS}
        if "scheduler" not in options.without:
            kinds |= {"ConfigMap", "ComputeClass"}
        store = Store(kube, kinds, options.namespace, options.lab)
        workloads: list[Loop[Any]] = []
        if "controller-manager" not in options.without:
            nodes = Nodes(store, options.node_grace, options.evict_after)
            workloads += [Deployments(store).loop, ReplicaSets(store).loop, Garbage(store).loop]
            workloads += [nodes.loop, nodes.orphans]
        if "scheduler" not in options.without:
            workloads.append(Scheduler(store).loop)
            scaler = Autoscaler(store, options.namespace or HOME, options.lab)
            group.create_task(_start(group, store, ("Node", "Pod", "ConfigMap"), [scaler.loop]))
        home, address = options.dir.absolute() / "envoy", options.gateway_address
        front = gateway.GatewayController(store, home, address, options.endpoint_pickers)
        store.watch_all(group)
        group.create_task(_start(group, store, WORKLOAD_KINDS, workloads))
        group.create_task(_start(group, store, gateway.KINDS, [front.loop, front.status_loop]))


async def _start(
    group: asyncio.TaskGroup, store: Store, kinds: Iterable[str], loops: Iterable[Loop[Any]]
) -> None:
    """Run `loops` once their kinds are known; a cluster may lack the gateway's for a while."""
    await store.synced(kinds)
    for loop in loops:
        group.create_task(loop.run())


def main() -> int:
    """Parse the command line and run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.manager", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="state directory; Envoy's files live in it")
    parser.add_argument("--gateway-address", default="127.0.0.1", help="address that gateways listen on")
    parser.add_argument(
        "--endpoint-pickers", action="store_true", help="let the pools' pickers (lab.gateway.picker) choose"
    )
    parser.add_argument("--namespace", help="only objects of this namespace (all by default)")
    parser.add_argument("--lab", help="only nodes with this value of the lab's label (all by default)")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=REPLACEABLE,
        help="leave this out, because the cluster runs its own",
    )
    for name, default, meaning in (
        ("--node-grace", 40.0, "age of a node's lease at which the node counts as lost"),
        ("--evict-after", 10.0, "how long pods stay bound to a node that is not ready"),
    ):
        parser.add_argument(name, type=float, default=default, metavar="SECONDS", help=meaning)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = parser.parse_args()
    try:
        client = Kube.from_kubeconfig(options.kubeconfig)
    except (OSError, ValueError) as error:
        print(f"no cluster: {error}", file=sys.stderr)
        return 1
    with suppress(KeyboardInterrupt):
        asyncio.run(run(client, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
