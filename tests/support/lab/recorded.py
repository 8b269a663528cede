"""What a real vLLM server said, where the recordings are at hand, and a simulated one in its place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.conformance.exposition import Page
from bench.conformance.shapes import Reply
from lab.host.state import CHECKOUT
from lab.model_server.images import Adapter, Catalogue
from tests.support.lab.model_server import Server, serving

RECORDED = CHECKOUT.parent / "shared" / "real-vllm"
MODEL = "/models/tiny-llama"
WIDTH = 64
ADAPTERS = {
    "/adapters/food-review-*": Adapter(8, MODEL, hidden_size=WIDTH),
    "/adapters/rank-64": Adapter(64, MODEL, hidden_size=WIDTH),
    "/adapters/wrong-modules": Adapter(8, MODEL, ("q_proj", "mlp.fancy_proj"), WIDTH),
    "/adapters/other-base": Adapter(8, "other", hidden_size=96),
    "/adapters/other-base-same-shape": Adapter(8, "other", hidden_size=WIDTH),
    "/adapters/dora": Adapter(8, MODEL, hidden_size=WIDTH, dora=True),
    "/adapters/no-weights": Adapter(8, MODEL, hidden_size=WIDTH, weights=False),
    "/adapters/resolved/res-rank64": Adapter(64, MODEL, hidden_size=WIDTH),
    "/adapters/resolved/res-other": Adapter(8, "llama-3.1-8b", hidden_size=WIDTH),
}
ARGUMENTS = (
    *("vllm", "serve", MODEL, "--served-model-name", "llama-3.1-8b", "llama-alias", "--enable-lora"),
    *("--max-lora-rank", "16", "--max-loras", "4", "--max-model-len", "1024", "--enforce-eager"),
)
RUNTIME = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
STORY = 67  # conversations that were held with one server, one after the other


def conversations() -> list[dict[str, Any]]:
    """All of them; none where the recordings are not."""
    path = RECORDED / "conversations.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def page(name: str) -> Page:
    """One of the recorded pages of metrics."""
    return Page.read((RECORDED / f"metrics-{name}.txt").read_text())


def said(conversation: dict[str, Any]) -> Reply:
    """What the real server answered."""
    body = conversation["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    return Reply.read(conversation["status"], conversation["content_type"], text)


@asynccontextmanager
async def simulated(
    *more: str, environment: dict[str, str] | None = None, seqs: int = 16, **image: Any
) -> AsyncIterator[Server]:
    """The recorded server's command line, given to a simulated one whose answers do not end by themselves."""
    like = {"version": "0.32.0", "hidden_size": WIDTH, "characters_per_token": 2.4, "answer_tokens": 1e6}
    arguments = (*ARGUMENTS, "--max-num-seqs", str(seqs), *more)
    async with serving(
        arguments=arguments, catalogue=Catalogue({}, ADAPTERS), environment=environment, **(like | image)
    ) as server:
        yield server


async def ask(server: Server, request: dict[str, Any], **headers: str) -> Reply:
    """A recorded request, made again."""
    given = request.get("body")
    body = request.get("raw") or (None if given is None else json.dumps(given))
    sent = request.get("headers") or ({"content-type": "application/json"} if body else {})
    url = server.url + request["path"]
    async with server.session.request(request["method"], url, data=body, headers=sent | headers) as answer:
        return Reply.read(answer.status, answer.headers.get("content-type"), await answer.text())
