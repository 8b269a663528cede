"""What time it is at the API server, or at a metrics store, by its own answers."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler

import pytest

from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.clients.server_clock import ServerClock
from tests.support.http_server import serving


class Times:
    def __init__(self) -> None:
        self.elapsed, self.own = 100.0, 5.0
        self.clock = ServerClock(lambda: self.elapsed, lambda: self.own)


def test_until_it_has_answered_it_is_our_own() -> None:
    assert Times().clock.now() == 5.0


def test_afterwards_it_is_the_servers_whatever_ours_says() -> None:
    times = Times()
    times.clock.hear("Thu, 26 Nov 2026 06:51:40 GMT")
    times.elapsed, times.own = 103.5, -1e9
    assert times.clock.now() == 1795675900.0 + 3.5


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2026 06:51:40 GMT"])
def test_what_is_no_date_is_not_heard(date: str | None) -> None:
    times = Times()
    times.clock.hear("Thu, 26 Nov 2026 06:51:40 GMT")
    times.clock.hear(date)
    assert times.clock.now() == 1795675900.0


@pytest.mark.parametrize(
    ("own", "took", "ahead"),
    [
        (1795675900.9, 0.1, 0.0),  # what has passed of the second is left out
        (1795675903.0, 2.0, 0.0),  # written at some time of the request
        (1795675890.0, 0.1, 10.0),
        (1795675910.0, 1.0, -8.0),
    ],
)
def test_how_far_it_is_ahead_at_least(own: float, took: float, ahead: float) -> None:
    times = Times()
    times.own = own
    times.clock.hear("Thu, 26 Nov 2026 06:51:40 GMT", took)
    assert times.clock.ahead == pytest.approx(ahead)


def test_a_metrics_store_has_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        BaseHTTPRequestHandler, "date_time_string", lambda *_: "Thu, 26 Nov 2020 06:51:40 GMT"
    )
    answer = json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode()
    with serving(lambda *_: (200, "application/json", answer)) as url:
        store = PrometheusClient(lambda: Access(url))
        assert abs(store.time() - time.time()) < 60
        store.query("up", 1.0)
        assert abs(store.time() - 1606373500) < 60
