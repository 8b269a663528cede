"""What time it is at the API server, by its own answers."""

from __future__ import annotations

import pytest

from inference_rollouts.clients.server_clock import ServerClock


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
