"""How busy each pod of a pool is, from its own metrics, and which pod should get the next request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import aiohttp

INTERVAL = 0.25
GAUGES = {
    "vllm:num_requests_waiting": "waiting",
    "vllm:num_requests_running": "running",
    "vllm:kv_cache_usage_perc": "cache",
}
SAMPLE = re.compile(
    r"^(vllm:num_requests_waiting|vllm:num_requests_running|vllm:kv_cache_usage_perc)\{[^}]*\} (\S+)$", re.M
)


@dataclass(slots=True)
class Load:
    """What a pod last said (requests, requests, share of its cache), and how many it was given since."""

    waiting: float = 0.0
    running: float = 0.0
    cache: float = 0.0
    given: int = 0


def parse(text: str) -> Load:
    """The load in a page of a model server's metrics; gauges of several engines add up."""
    load = Load()
    for name, value in SAMPLE.findall(text):
        field = GAUGES[name]
        setattr(load, field, getattr(load, field) + float(value))
    return load


def choose(loads: Mapping[str, Load], chance: Random) -> str | None:
    """The endpoint with the shortest queue, then the emptiest cache; by chance among equals."""
    if not loads:
        return None

    def cost(endpoint: str) -> tuple[float, float, float]:
        load = loads[endpoint]
        return load.waiting + load.running + load.given, round(load.cache, 1), chance.random()

    return min(loads, key=cost)


class Watcher:
    """Keeps `loads` of a set of endpoints (`address:port`) up to date."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.loads: dict[str, Load] = {}
        self._session = session

    def follow(self, endpoints: set[str]) -> None:
        """Watch exactly these endpoints from now on."""
        self.loads = {each: self.loads.get(each, Load()) for each in sorted(endpoints)}

    async def run(self) -> None:
        """Ask every endpoint again and again, until cancelled."""
        while True:
            await asyncio.gather(*(self._ask(each) for each in list(self.loads)))
            await asyncio.sleep(INTERVAL)

    async def _ask(self, endpoint: str) -> None:
        """A pod that does not tell keeps what it said last; readiness is for others to judge."""
        try:
            async with self._session.get(f"http://{endpoint}/metrics") as response:
                load = parse(await response.text())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if endpoint in self.loads:
            self.loads[endpoint] = load
