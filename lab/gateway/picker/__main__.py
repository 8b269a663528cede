"""`python -m lab.gateway.picker`: be the endpoint picker in every picker pod of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import aiohttp

from lab.gateway.picker.pods import KINDS, PickerPods
from lab.kube.client import Kube
from lab.reconcile.store import Store


async def _run(kubeconfig: Path, namespace: str | None) -> None:
    timeout = aiohttp.ClientTimeout(total=2)
    async with (
        Kube.from_kubeconfig(kubeconfig) as kube,
        aiohttp.ClientSession(timeout=timeout) as session,
        asyncio.TaskGroup() as group,
    ):
        store = Store(kube, KINDS, namespace)
        pods = PickerPods(store, session)
        store.watch_all(group)
        group.create_task(pods.run())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m lab.gateway.picker", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", help="only pods of this namespace (all by default)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(arguments.kubeconfig, arguments.namespace))


if __name__ == "__main__":
    main()
