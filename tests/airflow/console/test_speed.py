"""What an answer costs with two hundred rollouts and twenty viewers, in this process's CPU time."""

from __future__ import annotations

import statistics
import time

import pytest

pytestmark = pytest.mark.usefixtures("database")

VIEWERS, ROUNDS, MOST = 20, 5, 0.2  # seconds


def test_twenty_viewers_of_two_hundred_rollouts_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.console import client, mounted
    from tests.support.console_pages import everybody_sees_all
    from tests.support.console_states import many

    app = mounted(many())
    everybody_sees_all(monkeypatch)
    viewers = [client(app, "VIEWER") for _ in range(VIEWERS)]
    assert len(viewers[0].get("/api/rollouts").json()["rollouts"]) == 200
    costs = []
    for _ in range(ROUNDS):
        for viewer in viewers:
            began = time.process_time()
            assert viewer.get("/api/rollouts").status_code == 200
            costs.append(time.process_time() - began)
    p95 = statistics.quantiles(costs, n=20)[-1]
    print(f"median {1000 * statistics.median(costs):.1f} ms, p95 {1000 * p95:.1f} ms of CPU")
    assert p95 <= MOST
