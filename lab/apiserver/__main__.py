"""`python -m lab.apiserver --port 0 --dir STATE [--crds FOLDER] [--faults FILE]`"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import uvloop

from lab.apiserver.endpoints.server import Server
from lab.apiserver.storage.store import StoreInUse
from lab.apiserver.types.schema import Object

OWN_DEFINITIONS = Path(__file__).parents[1] / "crds"


async def serve(port: int, directory: Path, definitions: Path, faults: Object) -> None:
    server = Server(directory, definitions)
    server.router.faults.set(faults, server.cluster.store.version)
    url = await server.start(port)
    print(url, flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="lab.apiserver", description="A Kubernetes API server on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--dir", type=Path, required=True, help="state, certificates and kubeconfig")
    parser.add_argument("--crds", type=Path, default=OWN_DEFINITIONS, help="folder of definitions to install")
    parser.add_argument("--faults", type=Path, help="a plan of faults, as POST /lab/faults takes it")
    args = parser.parse_args()
    if not args.crds.is_dir():
        parser.error(f"no folder {args.crds}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    faults = json.loads(args.faults.read_text()) if args.faults else {}
    try:
        uvloop.run(serve(args.port, args.dir, args.crds, faults))
    except (StoreInUse, OSError) as error:
        sys.exit(f"lab.apiserver: {error}")


if __name__ == "__main__":
    main()
