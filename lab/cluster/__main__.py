"""`python -m lab.cluster --kubeconfig FILE`: apply the initial objects."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from lab.cluster.initial import apply
from lab.kube.client import Kube, KubeError
from lab.scope import HOME


async def _run(arguments: argparse.Namespace) -> None:
    async with Kube.from_kubeconfig(arguments.kubeconfig) as kube:
        await apply(kube, arguments.namespace, arguments.lab)


def main() -> int:
    """Parse the command line and apply."""
    parser = argparse.ArgumentParser(prog="python -m lab.cluster", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default=HOME)
    parser.add_argument("--lab", help="label the objects as those of this lab")
    try:
        asyncio.run(_run(parser.parse_args()))
    except (KubeError, OSError, ValueError) as error:
        print(f"the initial objects could not be applied: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
