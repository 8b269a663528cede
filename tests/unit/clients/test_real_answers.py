"""What a real vLLM said, recorded: the clients read it as what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference_rollouts.clients.model_server import HttpModelServers
from inference_rollouts.core.errors import ServerRefused
from inference_rollouts.core.serving.warm_up import Completion, Failure
from tests.support.odd_server import odd_server, replies
from tests.support.plans import ROOT

RECORDED = ROOT.parent / "shared" / "real-vllm" / "conversations.json"
pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="no recorded conversations here")

COMPLETIONS = ("/v1/completions", "/v1/chat/completions")


def conversations(*paths: str) -> list[dict[str, Any]]:
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else []
    return [each for each in recorded if each["request"]["path"] in paths]


def said(conversation: dict[str, Any]) -> bytes:
    body = conversation["body"]
    return (body if isinstance(body, str) else json.dumps(body)).encode()


@pytest.mark.parametrize("conversation", conversations(*COMPLETIONS), ids=lambda each: each["title"])
def test_a_stream_is_a_completion_and_all_else_a_failure(conversation: dict[str, Any]) -> None:
    status, body = conversation["status"], said(conversation)
    with odd_server(replies(status, body)) as url:
        answer = HttpModelServers().complete(url, "m", "hi", 4, 20)
    if status == 200 and body.startswith(b"data:") and b'"error"' not in body:
        assert isinstance(answer, Completion)
        assert (answer.text != "", answer.finish_reason) == (True, "length")
        asked = conversation["request"]["body"]
        assert answer.model == asked["model"]
        assert answer.completion_tokens == (asked["max_tokens"] if "stream_options" in asked else 0)
    else:
        assert isinstance(answer, Failure)
        assert answer.status == (0 if status == 200 else status)
        assert answer.words


@pytest.mark.parametrize("conversation", conversations("/v1/models"), ids=lambda each: each["title"])
def test_a_list_of_models_is_read_and_a_refusal_told(conversation: dict[str, Any]) -> None:
    with odd_server(replies(conversation["status"], said(conversation))) as url:
        if conversation["status"] != 200:
            with pytest.raises(ServerRefused, match="401: Unauthorized"):
                HttpModelServers().models(url)
            return
        served = HttpModelServers().models(url)
    assert [each.name for each in served] == [card["id"] for card in conversation["body"]["data"]]
