"""Whatever a model server says is a value, or one of the named errors in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_rollouts.clients.model_server import HttpModelServers
from inference_rollouts.core.errors import ServerRefused, ServerUnavailable
from inference_rollouts.core.serving.golden import Golden, findings
from inference_rollouts.core.serving.warm_up import Completion, Failure, mistake
from tests.support.json_values import json_values
from tests.support.odd_server import Talk, choosing_server, replies

KEYS = (
    "model", "choices", "text", "delta", "content", "finish_reason", "usage", "prompt_tokens",
    "completion_tokens", "error", "message", "detail", "data", "id", "root", "parent",
)  # fmt: skip
REFERENCE = Completion("m", "4.", "stop", 9, 2, 0.1)
GOLDEN = Golden(prompt="2 + 2?", format="json", pattern="4", length_drift=2)
Value = st.just({"choices": [{"text": "4"}], "model": "m"}) | json_values(*KEYS)

texts = Value.map(json.dumps) | st.integers(1, 1200).map(
    lambda depth: '{"error":' * depth + "1" + "}" * depth
)
streams = st.lists(texts | st.just("[DONE]") | st.text(max_size=8), max_size=4).map(
    lambda events: "".join(f"data: {event}\n\n" for event in events)
)
whole = (texts | streams).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=64)
statuses = st.just(200) | st.sampled_from([400, 401, 404, 429, 500, 503]) | st.integers(200, 599)


class Odd:
    """A server that says what it is told to, whoever asks for whatever."""

    def __init__(self) -> None:
        self.talk: Talk = replies(200, b"")
        self.url = ""

    def choose(self, method: str, target: str, body: bytes) -> Talk:
        return self.talk


@pytest.fixture(scope="module")
def odd() -> Iterator[Odd]:
    server = Odd()
    with choosing_server(server.choose) as server.url:
        yield server


def is_sentence(text: str) -> bool:
    """Whether people can read it and databases keep it."""
    return bool(text) and text.isprintable()


@settings(deadline=None, max_examples=200)
@given(statuses, whole)
def test_a_completion_or_a_failure_in_words(odd: Odd, status: int, body: bytes) -> None:
    odd.talk = replies(status, body)
    answer = HttpModelServers().complete(odd.url, "m", "2 + 2?", 4, 20)
    assert isinstance(answer, Completion | Failure)
    wrong = mistake(answer, "m")
    assert wrong is None or is_sentence(wrong)
    assert all(is_sentence(phrase) for phrase in findings(GOLDEN, answer, "m", REFERENCE))


def said(ask: Callable[[], Any]) -> Any:
    """The value that comes, or the named error instead of it."""
    try:
        return ask()
    except (ServerRefused, ServerUnavailable) as error:
        return error


@settings(deadline=None, max_examples=200)
@given(statuses, whole)
def test_a_list_of_names_or_a_named_error(odd: Odd, status: int, body: bytes) -> None:
    odd.talk = replies(status, body)
    served = said(lambda: HttpModelServers().models(odd.url))
    if isinstance(served, list):
        assert all(is_sentence(each.name) and isinstance(each.path, str) for each in served)
    else:
        assert is_sentence(str(served))


@settings(deadline=None, max_examples=100)
@given(statuses, whole)
def test_an_adapter_is_loaded_and_unloaded_or_a_named_error_says_why_not(
    odd: Odd, status: int, body: bytes
) -> None:
    odd.talk = replies(status, body)
    servers = HttpModelServers()
    loaded = said(lambda: servers.load_adapter(odd.url, "sql", "/adapters/sql"))
    unloaded = said(lambda: servers.unload_adapter(odd.url, "sql"))
    assert all(each is None or is_sentence(str(each)) for each in (loaded, unloaded))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_what_is_no_http_is_a_failure_too(odd: Odd, said: bytes) -> None:
    odd.talk = lambda connection, _: connection.sendall(said)
    answer = HttpModelServers().complete(odd.url, "m", "2 + 2?", 4, 20)
    assert isinstance(answer, Failure)
    assert is_sentence(answer.words)
