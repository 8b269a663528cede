"""What a server refuses by its options: callers without a key, adapters, more than its queue holds."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests

from bench.conformance.answers import page
from bench.conformance.conversations import COMPLETIONS, LOAD, MODEL
from bench.conformance.servers import Orders, Server

KEY = "secret"
QUEUED = 12
BURST = 30
ORDERS = Orders(("--max-num-seqs", "4", "--max-num-queued-reqs", str(QUEUED), "--api-key", KEY))
HEADERS = {"authorization": f"Bearer {KEY}"}


def observed(server: Server) -> dict[str, object]:
    """What it refuses, in numbers that do not depend on how fast it is."""
    return {**_keys(server), **_queue(server)}


def _keys(server: Server) -> dict[str, object]:
    def status(path: str, headers: dict[str, str]) -> tuple[int, str]:
        answer = requests.get(server.url + path, headers=headers, timeout=30)
        return answer.status_code, answer.text if answer.status_code != 200 else ""

    wrong = {"authorization": "Bearer other"}
    found: dict[str, object] = {
        "no key": status("/v1/models", {}),
        "a wrong key": status("/v1/models", wrong),
        "health needs none": status("/health", {}),
    }
    found["those are not counted"] = page(server).value("http_requests_total")
    body = {"lora_name": "a", "lora_path": "/b"}
    load = requests.post(server.url + LOAD, json=body, headers=HEADERS, timeout=30)
    found["adapters that may not be loaded at run time"] = (load.status_code, load.text)
    return found


def _queue(server: Server) -> dict[str, object]:
    """A burst: as many are served as may queue, all others are refused, and each refusal is counted once."""
    before = page(server)
    with ThreadPoolExecutor(BURST) as threads:
        ends = Counter(threads.map(partial(_end, server.url), range(BURST)))
    after = page(server)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    refused = ends["503"] + ends["refused in the stream"]
    return {
        "a burst ends in known ways": set(ends) <= {"well", "503", "refused in the stream"},
        "some of a burst is refused": refused > 0,
        "at least a queue full is served": ends["well"] >= QUEUED,
        "refusals are counted once": grown("vllm:admission_rejections_total") - refused,
        "those with a status are 5xx": grown("http_requests_total", status="5xx") - ends["503"],
        "those in a stream are 2xx and unfinished": grown("http_requests_total", status="2xx")
        - grown("vllm:request_success_total")
        - ends["refused in the stream"],
    }


def _end(url: str, number: int) -> str:
    stream = number % 2 == 0
    body = {"model": MODEL, "prompt": "go on", "max_tokens": 200, "ignore_eos": True, "stream": stream}
    answer = requests.post(url + COMPLETIONS, json=body, headers=HEADERS, timeout=300)
    if answer.status_code != 200:
        return str(answer.status_code)
    return "refused in the stream" if '{"error"' in answer.text else "well"
