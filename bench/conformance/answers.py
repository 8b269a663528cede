"""The same conversations with both, and what both then count."""

from __future__ import annotations

from collections.abc import Iterator

import requests

from bench.conformance import exposition, shapes
from bench.conformance.conversations import COMPLETIONS, Request, conversations
from bench.conformance.exposition import Page
from bench.conformance.servers import Server
from bench.conformance.table import Row

COUNTED = (
    "http_requests_total",
    "vllm:request_success_total",
    "vllm:admission_rejections_total",
    "vllm:generation_tokens_total",
    "vllm:time_to_first_token_seconds_count",
    "vllm:inter_token_latency_seconds_count",
    "vllm:request_time_per_output_token_seconds_count",
    "vllm:e2e_request_latency_seconds_count",
    "vllm:request_queue_time_seconds_count",
)
"""Series whose values follow from what was asked, whatever the model says."""


def page(server: Server) -> Page:
    """What a server exports now."""
    return Page.read(requests.get(f"{server.url}/metrics", timeout=30).text)


def same_answers(real: Server, simulated: Server, adapters: str) -> Iterator[Row]:
    """Hold all conversations, in the same order."""
    for kind, asked in conversations(adapters).items():
        found = [
            f"{request.title}: {each}" for request in asked for each in _differences(real, simulated, request)
        ]
        yield Row("answers", kind, len(asked), found)


def same_metrics(real: Server, simulated: Server, when: str) -> Row:
    """Families, series, and the values of those that count what was asked."""
    one, other = page(real), page(simulated)
    found = list(exposition.differences(one, other, COUNTED))
    return Row("metrics", when, len(other.series), found)


def _differences(real: Server, simulated: Server, request: Request) -> list[str]:
    path = request.body.get("lora_path", "") if isinstance(request.body, dict) else ""
    return shapes.differences(request.ask(real.url), request.ask(simulated.url), path)


def first_request(server: Server, model: str) -> None:
    """The first answer of a real server takes long."""
    body = {"model": model, "prompt": "x", "max_tokens": 1}
    requests.post(server.url + COMPLETIONS, json=body, timeout=300).raise_for_status()
