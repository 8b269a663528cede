"""A receiver of CloudEvents: what it is sent, and that nothing of its address is ever shown."""

from __future__ import annotations

import socket

import pytest

from inference_rollouts.clients.webhook import Receiver, post
from inference_rollouts.core.errors import PlanInvalid, ReceiverUnavailable
from tests.support.receiver import receiving

EVENT = {"specversion": "1.0", "data": {"occasion": "alarm", "reason": "ß"}}


def test_an_event_is_posted_as_json_with_what_the_connection_says() -> None:
    with receiving() as receiver:
        post(Receiver(receiver.url, {"Authorization": "Bearer t"}), EVENT, 10.0)
        post(Receiver(receiver.url, login=("user", "word")), EVENT, 10.0)
    assert receiver.events == [EVENT, EVENT]
    [bearer, basic] = receiver.headers
    assert bearer["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert (bearer["Authorization"], basic["Authorization"]) == ("Bearer t", "Basic dXNlcjp3b3Jk")


@pytest.mark.parametrize("status", [301, 400, 429, 503])
def test_what_is_not_taken_is_said_without_the_address(status: int) -> None:
    with receiving() as receiver:
        receiver.status = status
        with pytest.raises(ReceiverUnavailable) as refused:
            post(Receiver(receiver.url, name="connection hooks"), EVENT, 10.0)
    assert str(refused.value) == f"connection hooks did not take the message ({status})."


def test_nor_is_it_shown_when_nobody_answers_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/secret?sig=secret"
        with pytest.raises(ReceiverUnavailable) as refused:
            post(Receiver(url), EVENT, 0.2)
    assert "no whole answer within 0.2 s" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(Receiver(url, {"X-Key": "secret"}, ("u", "secret")))


@pytest.mark.parametrize(
    "url", ["", "example.com/x", "ftp://example.com", "http://", "http://[::1", "https://x:99999"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(PlanInvalid, match="connection hooks has no address"):
        Receiver(url, name="connection hooks").check()
    Receiver("https://example.com/x?sig=y").check()
