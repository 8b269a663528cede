"""A real Prometheus scrapes both, and the pipeline counts as it does in a rollout; clients know the truth."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import requests

from bench.conformance.conversations import CHAT, COMPLETIONS, MODEL
from bench.conformance.servers import Server
from bench.conformance.table import Row
from bench.stage import until
from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import last_window
from inference_rollouts.core.judging.queries import queries
from inference_rollouts.core.judging.window_counts import ArmCounts
from inference_rollouts.rollout.observation import answers
from lab.host.addresses import free_port
from lab.monitoring.binary import find_prometheus
from lab.monitoring.prometheus import prometheus_argv, write_config, write_targets
from lab.monitoring.targets import MODEL_SERVERS

LABEL = "inference_pool"
SETTLED = 6.0  # seconds: a scrape or two, and what the servers still do for clients that have left
GOOD, LEAVE_MIDWAY, LEAVE_UNHEARD, LOST_NAMES = 60, 7, 5, 4
ASKED = GOOD + LEAVE_MIDWAY + LEAVE_UNHEARD + LOST_NAMES
EXPECTED = {
    # metric: how many, of those how many bad; None: it depends on how fast a server is
    "errors": (ASKED, 0),
    "refused": (ASKED, LOST_NAMES),
    "inter_token": (GOOD, None),
    "queue_time": (GOOD, None),
    "unfinished": (ASKED - LOST_NAMES, LEAVE_MIDWAY + LEAVE_UNHEARD),
    "queue_full": (ASKED, 0),
    "e2e": (GOOD, None),
    "cut_at_length": (GOOD, GOOD),
}
"""What clients do, by the metrics of the set `vllm`; not of tokens, as those that leave may have had some."""


def same_counts(real: Server, simulated: Server, folder: Path) -> Iterator[Row]:
    """Both get the same clients; what is counted of each must be what its clients did."""
    with _prometheus(folder, (real, simulated)) as url:
        prometheus, metrics = PrometheusClient(lambda: Access(url)), load_metric_set("vllm")
        arms = Arm(LABEL, real.kind), Arm(LABEL, simulated.kind)
        asked = queries(metrics, *arms)
        for server in (real, simulated):
            asyncio.run(_clients(server.url))  # every series is there before anything is counted
        time.sleep(SETTLED)
        started = time.time()
        for server in (real, simulated):
            asyncio.run(_clients(server.url))
        time.sleep(SETTLED)
        seen = [answers(prometheus, asked, at) for at in (started - 1, started, time.time())]
    window = last_window(metrics, *arms, seen)
    counts = {name: (each.canary, each.stable) for name, each in window.counts.items()} if window else {}
    for name, truth in EXPECTED.items():
        yield Row("counts", f"{name} by Prometheus", 2, list(_wrong(name, truth, counts)))


def _wrong(
    name: str, truth: tuple[int, int | None], counts: Mapping[str, tuple[ArmCounts, ArmCounts]]
) -> Iterator[str]:
    for kind, arm in zip(("real", "simulated"), counts.get(name, (None, None)), strict=True):
        found = (arm.n, arm.bad[0]) if arm else None
        if found is None or found[0] != truth[0] or truth[1] not in (None, found[1]):
            yield f"{kind}: clients did {truth}, counted are {found}"


async def _clients(url: str) -> None:
    """Good answers, clients that leave in mid-answer or before they heard a word, and names that are none."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        await asyncio.gather(*(_good(session, url, stream=number % 2 == 0) for number in range(GOOD)))
        await asyncio.gather(*(_leave(session, url, stream=True) for _ in range(LEAVE_MIDWAY)))
        await asyncio.gather(*(_leave(session, url, stream=False) for _ in range(LEAVE_UNHEARD)))
        for _ in range(LOST_NAMES):
            async with session.post(url + COMPLETIONS, json={"model": "nobody", "prompt": "x"}) as answer:
                assert answer.status == 404


async def _good(session: aiohttp.ClientSession, url: str, *, stream: bool) -> None:
    body: dict[str, Any] = {"model": MODEL, "max_tokens": 12, "ignore_eos": True, "stream": stream}
    path = CHAT if stream else COMPLETIONS
    body |= {"messages": [{"role": "user", "content": "x"}]} if stream else {"prompt": "x"}
    async with session.post(url + path, json=body) as answer:
        assert answer.status == 200
        await answer.read()


async def _leave(session: aiohttp.ClientSession, url: str, *, stream: bool) -> None:
    body = {"model": MODEL, "prompt": "x", "max_tokens": 1000, "ignore_eos": True, "stream": stream}
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(None if stream else 0.5),
            session.post(url + COMPLETIONS, json=body) as got,
        ):
            await got.content.readline()
            got.close()


@contextmanager
def _prometheus(folder: Path, servers: tuple[Server, Server]) -> Iterator[str]:
    port, log = free_port(), folder / "prometheus.log"
    write_config(folder, "http://127.0.0.1:1")  # there is no Envoy here
    groups = [
        {
            "targets": [server.url.removeprefix("http://")],
            "labels": {"namespace": "default", "pod": f"{server.kind}-0", LABEL: server.kind},
        }
        for server in servers
    ]
    write_targets(folder, MODEL_SERVERS, groups)
    with log.open("w") as out:
        process = subprocess.Popen(prometheus_argv(find_prometheus(), folder, port), stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _scraped(url) == len(servers), "Prometheus to scrape both")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _scraped(url: str) -> int:
    try:
        found = requests.get(f"{url}/api/v1/query", params={"query": "up == 1"}, timeout=5).json()
    except requests.RequestException:
        return 0
    return len(found["data"]["result"])
