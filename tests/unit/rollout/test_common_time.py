"""One clock for what many decide together: that of the API server."""

from __future__ import annotations

import ast

import pytest

from inference_rollouts.rollout.common_time import time_of
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import ROOT

PACKAGE = ROOT / "plugins" / "inference_rollouts"
OWN = {
    "rollout/telling.py",  # when somebody was told, as Airflow keeps it
    "triggers/herald.py",  # the same
    "triggers/ask.py",  # Airflow's own trigger counts by it: it is told what that clock shows by then
    "triggers/guard.py",  # where there is no place, and so no other
}


def test_the_api_server_is_asked_before_its_clock_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, asked = FakeCluster(), list[str]()

    def serves(api: str, kind: str) -> bool:
        asked.append(kind)
        return True

    monkeypatch.setattr(cluster, "serves", serves)
    cluster.clock = lambda: 7.0 if asked else 1e9
    assert time_of(cluster) == 7.0


def test_where_it_does_not_answer_it_is_our_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster()

    def refused(api: str, kind: str) -> bool:
        raise ConnectionError("refused")

    monkeypatch.setattr(cluster, "serves", refused)
    cluster.clock = lambda: 7.0
    assert time_of(cluster) == 7.0
    assert "is not known: refused" in caplog.text


@pytest.mark.parametrize("room", ["rollout", "triggers", "kinds", "preflight"])
def test_nothing_is_decided_by_the_clock_of_the_machine_on_which_it_happens_to_run(room: str) -> None:
    """What takes so long is counted by a clock that only grows."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / room).rglob("*.py")
        if {"time.time", "datetime.now"} & {ast.unparse(node) for node in _attributes(path.read_text())}
    }
    assert found - OWN == set()


def _attributes(source: str) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
