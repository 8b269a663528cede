"""`python -m lab.monitoring`: keep Prometheus' targets in step with the cluster's pods."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from lab.kube.client import Kube
from lab.kube.informer import Informer
from lab.kube.objects import path_of
from lab.monitoring.prometheus import targets_folder, write_targets
from lab.monitoring.targets import Groups, target_groups


async def follow(kubeconfig: Path, state: Path, namespace: str | None) -> None:
    """Rewrite the target file on every change that matters, until cancelled."""
    written: dict[str, Groups] = {}
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        pods = Informer(kube, path_of("Pod", namespace))
        changed = asyncio.Event()
        pods.subscribe(lambda before, after: changed.set())
        watch = asyncio.create_task(pods.run())
        try:
            await pods.synced.wait()
            while True:
                groups = target_groups(pods.list())
                for job in groups:
                    if groups[job] != written.get(job):
                        write_targets(state, job, groups[job])
                written = groups
                await changed.wait()
                changed.clear()
        finally:
            watch.cancel()


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m lab.monitoring", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="state directory")
    parser.add_argument("--namespace", help="only pods of this namespace (all by default)")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_run(parser.parse_args()))


async def _run(arguments: argparse.Namespace) -> None:
    targets_folder(arguments.dir).mkdir(parents=True, exist_ok=True)
    work = asyncio.ensure_future(follow(arguments.kubeconfig, arguments.dir, arguments.namespace))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()


if __name__ == "__main__":
    main()
