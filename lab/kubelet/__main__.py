"""`python -m lab.kubelet`: run the pods of every node of a cluster as simulated processes."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import signal
from pathlib import Path

import aiohttp
import uvloop

from lab.kube.client import Kube
from lab.kubelet.addresses import Addresses
from lab.kubelet.kubelet import Kubelet
from lab.kubelet.node import Machine
from lab.model_server.images import CATALOGUE, load_catalogue
from lab.reconcile.store import Store

KINDS = ("Node", "Pod")


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m lab.kubelet", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument(
        "--dir", type=Path, required=True, help="state directory; its images.yaml, if any, rules"
    )
    parser.add_argument("--subnet", type=subnet, required=True, help='pod addresses, as "127.A.B"')
    parser.add_argument("--namespace", help="only pods of this namespace (all by default)")
    parser.add_argument("--lab", help="only nodes with this value of the lab's label (all by default)")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies pull, load and back-off")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvloop.run(_run(parser.parse_args()))


def subnet(text: str) -> str:
    """The first three numbers of a loopback network; ValueError for anything else."""
    network = ipaddress.IPv4Network(f"{text}.0/24")
    if not network.is_loopback:
        raise ValueError(f"not a loopback network: {text}")
    return text


async def _run(arguments: argparse.Namespace) -> None:
    own = arguments.dir / "images.yaml"
    catalogue = load_catalogue(own if own.exists() else CATALOGUE)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with (
        Kube.from_kubeconfig(arguments.kubeconfig) as kube,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        store = Store(kube, KINDS, arguments.namespace, arguments.lab)
        addresses = Addresses(arguments.subnet)
        machine = Machine(store, catalogue, addresses, session, arguments.time_scale)
        work = asyncio.ensure_future(Kubelet(store, machine).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()):
            raise error


if __name__ == "__main__":
    main()
