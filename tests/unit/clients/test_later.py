"""When a server wants to be asked again, in seconds or as a date by its own clock."""

from __future__ import annotations

import pytest

from inference_rollouts.clients.later import told_to_wait

DATE = "Sat, 28 Nov 2026 10:00:00 GMT"
NOW = 1795860000.0  # of that date


@pytest.mark.parametrize(
    ("status", "after", "date", "seconds"),
    [
        (429, "1", DATE, 1.0),
        (503, " 30", None, 30.0),
        (503, "Sat, 28 Nov 2026 10:00:20 GMT", DATE, 20.0),
        (503, "Sat, 28 Nov 2026 10:00:20 GMT", None, 20.0),
        (503, "Sat, 28 Nov 2026 09:00:00 GMT", DATE, 0.0),
        (429, None, DATE, 0.0),
        (429, "soon", DATE, 0.0),
        (429, "-5", DATE, 0.0),
        (429, "9" * 400, DATE, 0.0),
        (429, "Sat, 99 Nov 2026 10:00:20 GMT", DATE, 0.0),
        (500, "30", DATE, 0.0),
        (200, "30", DATE, 0.0),
    ],
)
def test_what_is_told(status: int, after: str | None, date: str | None, seconds: float) -> None:
    assert told_to_wait(status, after, date, NOW) == seconds
