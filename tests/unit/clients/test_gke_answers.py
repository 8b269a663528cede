"""GKE's API: what may pass is told from what stays, and no answer is waited for beyond the limit."""

import time

import pytest
import requests

from inference_rollouts.clients.gke import GkeAccess, GkeClient
from inference_rollouts.core.errors import ClusterRefused, GkeBusy, QuotaExceeded
from tests.support.odd_server import BROKEN, SLOW, choosing_server, odd_server, replies, replies_json

CLUSTER = "projects/p/locations/l/clusters/c"
LIMIT = 0.3


def client(url, token="secret", timeout=20.0):
    return GkeClient(lambda: GkeAccess(url, token, url), CLUSTER, timeout)


def find(talk, **options):
    with odd_server(talk) as url:
        return client(url, **options).find_node_pool("pool")


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
@pytest.mark.parametrize("token", ["secret", ""])
def test_a_request_and_a_token_are_waited_for_up_to_the_limit(talk, token):
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError, match=r"no whole answer within 0\.3 s"):
        find(talk, token=token, timeout=LIMIT)
    assert time.monotonic() - started < 10 * LIMIT


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_a_broken_answer_is_an_error_of_the_network(talk):
    with pytest.raises(requests.ConnectionError):
        find(talk)


def refused(code, status, message="words"):
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
def test_what_may_pass_is_told_from_what_stays(talk, error):
    with pytest.raises(error):
        find(talk)


def test_a_node_pool_that_is_not_there_is_none():
    assert find(refused(404, "NOT_FOUND")) is None


@pytest.mark.parametrize("operations", [1, {"a": 1}, [1], [[]]])
def test_operations_that_are_none_are_no_answer(operations):
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
def test_a_metadata_server_without_a_token_says_so(talk, error):
    with pytest.raises(error, match="The metadata server"):
        find(talk, token="")


def test_a_token_is_asked_for_once():
    asked = []

    def choose(method, target, body):
        asked.append(target)
        token = {"access_token": "x", "expires_in": 3600}
        return replies_json(200, token if "metadata" in target.lower() else {"name": "pool"})

    with choosing_server(choose) as url:
        gke = client(url, token="")
        assert [gke.find_node_pool("pool")["name"] for _ in range(2)] == ["pool", "pool"]
    assert len(asked) == 3
