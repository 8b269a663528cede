"""`python -m lab.cluster --kubeconfig FILE`: apply the initial objects."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from lab.cluster import apply
from lab.kube import Kube, KubeError


async def _run(kubeconfig: Path) -> None:
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        await apply(kube)


def main() -> int:
    """Parse the command line and apply."""
    parser = argparse.ArgumentParser(prog="python -m lab.cluster", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    try:
        asyncio.run(_run(parser.parse_args().kubeconfig))
    except (KubeError, OSError, ValueError) as error:
        print(f"the initial objects could not be applied: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
