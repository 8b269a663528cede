"""Bearer tokens: those of an identity are renewed before they expire, all of them once they are refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.bearer import TOKEN_PATH, Access, BearerApi, NoToken
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.limits import TOKEN_FRESH
from tests.support.http_server import Reply, serving
from tests.support.odd_server import SLOW, Talk, odd_server
from tests.support.scripted_api import Clock
from tests.support.stopwatch import ends_within

LIMIT = 0.3
HOUR = 3600
VECTOR = b'{"status": "success", "data": {"resultType": "vector", "result": []}}'


@dataclass
class Store:
    """A metrics store that takes one token, and a metadata server that gives tokens for an hour."""

    token: str = "token-1"
    given: int = 0
    refused: int = 0
    answered: int = 0
    told: dict[str, Any] = field(default_factory=dict)  # instead of a token
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        if request.path == TOKEN_PATH:
            self.given += 1
            token = {"access_token": f"token-{self.given}", "expires_in": HOUR, "token_type": "Bearer"}
            return 200, "application/json", json.dumps(token | self.told).encode()
        if request.headers["Authorization"] != f"Bearer {self.token}":
            self.refused += 1
            return 401, "text/html", b"<html>"
        self.answered += 1
        return 200, "application/json", VECTOR


@pytest.fixture
def store() -> Iterator[Store]:
    served = Store()
    with serving(served.answer) as served.url:
        yield served


def by_identity(store: Store, clock: Clock) -> PrometheusClient:
    return PrometheusClient(lambda: Access(store.url, metadata_server=store.url), 20.0, clock)


def test_a_night_of_queries_gets_a_token_an_hour_and_is_never_refused(store: Store, clock: Clock) -> None:
    prometheus = by_identity(store, clock)
    for hour in range(1, 10):
        store.token = f"token-{hour}"
        for _ in range(3):
            assert prometheus.query("up", 1.0) == []
        clock.now += HOUR - TOKEN_FRESH + 1
    assert (store.given, store.answered, store.refused) == (9, 27, 0)


def test_a_token_that_is_refused_before_its_time_is_renewed_once(store: Store, clock: Clock) -> None:
    prometheus = by_identity(store, clock)
    assert prometheus.query("up", 1.0) == []
    store.token = "token-2"
    assert prometheus.query("up", 1.0) == []
    assert (store.given, store.answered, store.refused) == (2, 2, 1)
    store.token = "of somebody else"
    with pytest.raises(PrometheusUnavailable, match=r"answered 401: .* tokens of the workload identity"):
        prometheus.query("up", 1.0)
    assert (store.given, store.refused) == (3, 3)


def test_a_password_that_was_changed_is_read_anew_when_the_old_one_is_refused(store: Store) -> None:
    passwords = ["token-1"]
    prometheus = PrometheusClient(lambda: Access(store.url, passwords[-1]))
    assert prometheus.query("up", 1.0) == []
    store.token = "token-2"
    with pytest.raises(
        PrometheusUnavailable, match=r"answered 401: .* It gets the connection's password as bearer token"
    ):
        prometheus.query("up", 1.0)
    assert store.refused == 1, "the same again would be refused again"
    passwords.append("token-2")
    assert prometheus.query("up", 1.0) == []
    assert (store.answered, store.refused) == (2, 2)


def test_who_gives_no_token_is_told_how(store: Store) -> None:
    with pytest.raises(
        PrometheusUnavailable, match="give one as the password of p, or have a workload identity"
    ):
        PrometheusClient(lambda: Access(store.url, name="the password of p")).query("up", 1.0)


def test_where_it_is_may_change_with_the_token(store: Store, tmp_path: Path) -> None:
    moved = Store("token-2")
    with serving(moved.answer) as moved.url:
        places = [Access(store.url, "old"), Access(moved.url, "token-2")]
        prometheus = PrometheusClient(lambda: places.pop(0))
        assert prometheus.query("up", 1.0) == []
    assert (store.refused, moved.answered) == (1, 1)


@pytest.mark.parametrize(
    "told",
    [
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": "a\nX-Other: b"},
        {"access_token": "\u00e9"},
        {"access_token": None},
        {"expires_in": "3600"},
        {"expires_in": True},
        {"expires_in": 1.5},
    ],
    ids=str,
)
def test_what_is_no_token_is_not_sent(store: Store, clock: Clock, told: dict[str, Any]) -> None:
    store.told = told
    with pytest.raises(PrometheusUnavailable, match="answered with what is no token"):
        by_identity(store, clock).query("up", 1.0)
    assert (store.answered, store.refused) == (0, 0)


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_token_and_query_share_one_limit(store: Store, talk: Talk) -> None:
    with ends_within(10 * LIMIT), odd_server(talk) as url:
        prometheus = PrometheusClient(lambda: Access(store.url, metadata_server=url), LIMIT)
        with pytest.raises(PrometheusUnavailable, match=r"metadata server gives no token: no whole answer"):
            prometheus.query("up", 1.0)


def test_a_connection_that_is_not_looked_up_in_time_is_an_error_in_words() -> None:
    over = threading.Event()

    def hang() -> Access:
        over.wait()
        return Access("http://127.0.0.1:9")

    with ends_within(10 * LIMIT):
        try:
            with pytest.raises(NoToken, match="Nobody knows where it is: no whole answer within"):
                BearerApi(hang, LIMIT).ask("GET", "/")
        finally:
            over.set()


def test_a_connection_that_is_missing_is_an_error_in_words() -> None:
    def missing() -> Access:
        raise LookupError("The conn_id prom isn't defined")

    with pytest.raises(
        PrometheusUnavailable, match="cannot be asked: Nobody knows where it is: The conn_id prom"
    ):
        PrometheusClient(missing).query("up", 1.0)
