"""The load generator: `python -m lab.loadgen --url URL --model NAME --rate 60 --dir DIR --port P`.

HTTP on 127.0.0.1:P: `GET /stats`, `POST /rate {"rate": 30}`, `POST /patience {"seconds": 5}`, `GET /healthz`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from aiohttp import web

from lab.loadgen.arrivals import Traced, read_trace
from lab.loadgen.client import PATIENCE, Client
from lab.loadgen.generator import Generator
from lab.loadgen.log import RequestLog
from lab.loadgen.stats import KEPT, WINDOW

HIGHEST_RATE = 2000.0


def main() -> None:
    """Run until SIGTERM or Ctrl-C, or to the end of a trace."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.loadgen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", type=url, required=True, help="the gateway")
    parser.add_argument("--model", required=True, help="the model to ask for")
    parser.add_argument(
        "--also",
        type=alias,
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help="another name to ask for, and by which share of the requests",
    )
    parser.add_argument(
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="sent with each request",
    )
    parser.add_argument("--rate", type=rate, default=60.0, help="requests a second (default 60)")
    parser.add_argument("--dir", type=Path, required=True, help="the log is written to DIR/loadgen")
    parser.add_argument("--port", type=int, default=0, help="control port on 127.0.0.1")
    parser.add_argument("--stream-share", type=float, default=1.0, help="share of streamed answers")
    parser.add_argument("--patience", type=patience, default=PATIENCE, help="seconds a client waits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trace", type=Path, help="replay this CSV file instead")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than recorded")
    arguments = parser.parse_args()
    if sum(share for _, share in arguments.also) > 1:
        parser.error("the shares of --also are more than all requests")
    try:
        trace = list(read_trace(arguments.trace)) if arguments.trace else None
    except (OSError, ValueError) as error:
        parser.error(f"cannot replay: {error}")
    uvloop.run(_run(arguments, trace))


async def _run(arguments: argparse.Namespace, trace: list[Traced] | None) -> None:
    log = RequestLog(arguments.dir / "loadgen")
    headers = dict(arguments.header)
    async with Client(arguments.url, arguments.model, arguments.patience, headers) as client:
        options = (arguments.rate, arguments.stream_share, arguments.seed, dict(arguments.also))
        generator = Generator(client, log, *options)
        runner = web.AppRunner(control(generator), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        print(f"load generator on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, generator.stop)
        try:
            await generator.run(trace, arguments.speed)
        finally:
            log.close()
            await runner.cleanup()


def control(generator: Generator) -> web.Application:
    """The HTTP interface of a generator."""
    started = time.time()

    async def stats(request: web.Request) -> web.Response:
        try:
            now, seconds = time.monotonic(), _seconds(request.query.get("window", WINDOW))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        body: dict[str, Any] = {
            "started": started,
            "rate_asked": generator.poisson.rate,
            "sent": generator.sent,
            "in_flight": generator.in_flight,
            "totals": generator.stats.totals(),
            "window": generator.stats.window(now, seconds),
            "generator": generator.stats.own_delays(now, generator.lag.since(now - seconds), seconds),
        }
        return web.json_response(body)

    async def change_rate(request: web.Request) -> web.Response:
        try:
            generator.set_rate(rate((await request.json())["rate"]))
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"error": f'want {{"rate": number}}: {error}'}, status=400)
        return web.json_response({"rate": generator.poisson.rate})

    async def change_patience(request: web.Request) -> web.Response:
        try:
            generator.client.patience = patience((await request.json())["seconds"])
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"error": f'want {{"seconds": number}}: {error}'}, status=400)
        return web.json_response({"seconds": generator.client.patience})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/stats", stats), web.get("/healthz", healthz)])
    app.add_routes([web.post("/rate", change_rate), web.post("/patience", change_patience)])
    return app


def url(text: str) -> str:
    """`text`, if it is an HTTP URL; ValueError otherwise."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an HTTP URL: {text}")
    return text


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds <= KEPT:
        raise ValueError(f"a window is at most {KEPT:.0f} seconds, not {value}")
    return seconds


def alias(text: str) -> tuple[str, float]:
    """`name=share` as a pair; ValueError for what is none."""
    name, _, share = text.rpartition("=")
    if not name or not 0 <= float(share) <= 1:
        raise ValueError(f"want NAME=SHARE with a share of at most 1: {text}")
    return name, float(share)


def header(text: str) -> tuple[str, str]:
    """`name=value` as a pair; ValueError for what is none."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise ValueError(f"want NAME=VALUE: {text}")
    return name, value


def rate(value: Any) -> float:
    """Requests a second; ValueError for what cannot be one."""
    number = float(value)
    if not 0 <= number <= HIGHEST_RATE:
        raise ValueError(f"a rate is between 0 and {HIGHEST_RATE:.0f} requests a second, not {value}")
    return number


def patience(value: Any) -> float:
    """Seconds that a client waits; ValueError for what cannot be that."""
    seconds = float(value)
    if not 0 < seconds <= PATIENCE:
        raise ValueError(f"clients wait up to {PATIENCE:.0f} seconds, not {value}")
    return seconds


if __name__ == "__main__":
    main()
