"""One simulated server by itself: `python -m lab.model_server --image IMAGE [--address A] -- VLLM ARGS`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal

import uvloop

from lab.model_server.api import Api
from lab.model_server.images import Kind, load_catalogue
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then end as vLLM does; a second one ends at once."""
    parser = argparse.ArgumentParser(prog="python -m lab.model_server", description=__doc__)
    parser.add_argument("--image", default="vllm/vllm-openai:v0.31.0")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--pod", default="standalone", help="name of the server and seed of its noise")
    parser.add_argument("--faults", type=json.loads, default={}, help="JSON object of faults to begin with")
    parser.add_argument("arguments", nargs="*", help="vLLM's own arguments, after --")
    uvloop.run(_serve(parser.parse_args()))


async def _serve(arguments: argparse.Namespace) -> None:
    catalogue = load_catalogue()
    image = catalogue.image(arguments.image)
    if image is None or image.kind is not Kind.VLLM:
        raise SystemExit(f"{arguments.image} is no model server of lab/images.yaml")
    options = parse_options(arguments.arguments, os.environ)
    api = Api(image, options, catalogue, arguments.pod, pool="")
    api.completions.faults = api.completions.faults.changed(arguments.faults)
    server = ModelServer(api)
    port = await server.listen(arguments.address, options.port)
    print(f"simulated vLLM {image.version} on http://{arguments.address}:{port}", flush=True)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    for number in SIGNALS:
        loop.remove_signal_handler(number)
    await server.terminate()
    await server.stop()


if __name__ == "__main__":
    main()
