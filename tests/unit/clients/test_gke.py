"""GKE's API: what may pass is told from what stays, and no answer is waited for beyond the limit."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.gke import GkeClient
from inference_rollouts.core.errors import ClusterRefused, GkeBusy, QuotaExceeded
from inference_rollouts.core.nodes.gke import GkeObject
from tests.support.fake_gke import CLUSTER, FakeGke, serving_gke
from tests.support.odd_server import BROKEN, SLOW, Talk, floods, odd_server, replies, replies_json
from tests.support.stopwatch import ends_within

LIMIT = 0.3


def client(url: str, token: str = "secret", timeout: float = 20.0) -> GkeClient:
    return GkeClient(lambda: Access(url, token, url, "the password of g"), CLUSTER, timeout)


def find(talk: Talk, token: str = "secret", timeout: float = 20.0) -> GkeObject | None:
    with odd_server(talk) as url:
        return client(url, token, timeout).find_node_pool("pool")


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
@pytest.mark.parametrize("token", ["secret", ""])
def test_a_request_and_a_token_are_waited_for_up_to_the_limit(talk: Talk, token: str) -> None:
    with (
        ends_within(10 * LIMIT),
        pytest.raises((requests.ConnectionError, GkeBusy), match=r"no whole answer within 0\.3 s"),
    ):
        find(talk, token=token, timeout=LIMIT)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("token", ["secret", ""])
def test_a_promise_to_answer_later_is_not_waited_for(code: int, token: str) -> None:
    with ends_within(3), pytest.raises(GkeBusy):
        find(replies(code, b"", Retry_After="4"), token=token, timeout=60)


@pytest.mark.parametrize("token", ["secret", ""])
def test_a_flood_is_refused_at_its_size(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr("inference_rollouts.clients.bearer.ANSWER_BYTES", 10**6)
    with pytest.raises((requests.ConnectionError, GkeBusy), match="larger than 1000000 bytes"):
        find(floods, token=token)


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_a_broken_answer_is_an_error_of_the_network(talk: Talk) -> None:
    with pytest.raises(requests.ConnectionError):
        find(talk)


def refused(code: int, status: str, message: str = "words") -> Talk:
    return replies_json(code, {"error": {"status": status, "message": message}})


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (refused(400, "FAILED_PRECONDITION"), GkeBusy),
        (refused(429, ""), GkeBusy),
        (replies(502, b"<html>"), GkeBusy),
        (replies_json(503, {"error": []}), GkeBusy),
        (replies(200, b"<html>"), GkeBusy),
        (replies(200, b"[]"), GkeBusy),
        (refused(403, "FORBIDDEN", "Insufficient regional quota to satisfy request: CPUS."), QuotaExceeded),
        (refused(403, "PERMISSION_DENIED"), ClusterRefused),
        (refused(400, "INVALID_ARGUMENT"), ClusterRefused),
    ],
)
def test_what_may_pass_is_told_from_what_stays(talk: Talk, error: type[Exception]) -> None:
    with pytest.raises(error):
        find(talk)


def test_a_node_pool_that_is_not_there_is_none() -> None:
    assert find(refused(404, "NOT_FOUND")) is None


@pytest.mark.parametrize("operations", [1, {"a": 1}, [1], [[]]])
def test_operations_that_are_none_are_no_answer(operations: Any) -> None:
    with odd_server(replies_json(200, {"operations": operations})) as url, pytest.raises(GkeBusy):
        client(url).operations()


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (replies(404, b"no identity"), ClusterRefused),
        (replies(503, b""), GkeBusy),
        (replies(200, b"{}"), GkeBusy),
        (replies(200, b'{"access_token": "x", "expires_in": "soon"}'), GkeBusy),
        (replies(200, b'{"access_token": 1, "expires_in": 3600}'), GkeBusy),
    ],
)
def test_a_metadata_server_without_a_token_says_so(talk: Talk, error: type[Exception]) -> None:
    with pytest.raises(error, match="The metadata server"):
        find(talk, token="")


def test_a_metadata_server_that_refuses_is_told_with_what_to_do() -> None:
    with pytest.raises(ClusterRefused, match="give one as the password of g"):
        find(replies(403, b""), token="")


def test_a_token_that_was_changed_is_taken_from_the_connection_when_the_old_one_is_refused() -> None:
    with serving_gke(FakeGke(token="new")) as fake:
        tokens = ["new", "old"]
        gke = GkeClient(lambda: Access(fake.url, tokens.pop()), CLUSTER)
        gke.check_cluster()
        assert len(fake.requests) == 2


def test_a_token_that_is_not_given_is_asked_for_once() -> None:
    with serving_gke(FakeGke()) as fake:
        gke = client(fake.url, token="")
        gke.check_cluster()
        gke.create_node_pool({"nodePool": {"name": "new"}})
        assert gke.find_node_pool("new") is not None
        assert fake.tokens == 1, "it is asked for once while it is good"
