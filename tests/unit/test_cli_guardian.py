"""`inference-rollouts guardian`, `watch`, and what a guardian answers over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import threading
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import requests

from inference_rollouts.cli import guardian, main, watch
from inference_rollouts.cli.get import listing
from inference_rollouts.cli.herald import Herald
from inference_rollouts.cli.probes import Probes
from inference_rollouts.clients.webhook import Receiver
from inference_rollouts.core.limits import GUARDIAN_STALLED
from inference_rollouts.core.limits import LEASE_SECONDS as BEYOND
from inference_rollouts.core.reporting.series import Closed, Reading, Reason
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.rollout.guardian import Ended, Round
from inference_rollouts.rollout.overview import overview
from inference_rollouts.rollout.way_back import Restored
from tests.support.plans import CANARY, STABLE
from tests.support.receiver import receiving
from tests.support.steps import Step

LEASE_SECONDS = BEYOND + 1  # with the plan's interval


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A rollout that an alarm has ended, and nobody finished it."""
    now = count(1000.0, LEASE_SECONDS / 2)
    step = Step(clock=lambda: next(now))
    step.run.traffic.way_back.retreat("an alarm")
    for command in (guardian, watch):
        monkeypatch.setattr(command, "cluster_of", lambda _: step.cluster)
    return step


def test_once_is_one_round(step: Step) -> None:
    assert main(["guardian", "--once"]) == 0
    assert step.cluster.weights() == {STABLE: 1}


def test_once_fails_when_the_cluster_does_not_answer(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(step.cluster, "select", refused)
    assert main(["guardian", "--once"]) == 1


def test_it_goes_on_until_it_is_told_to_end(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian, "GUARDIAN_POLL", 0.0)
    rounds: list[Round | None] = []

    def tell(self: Probes, seen: Round | None) -> None:
        rounds.append(seen)
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Probes, "tell", tell)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main(["guardian", "--port", "0", "--prometheus", "http://127.0.0.1:9"]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(rounds) >= 3
    assert step.cluster.weights() == {STABLE: 1}
    assert threading.current_thread() is threading.main_thread()


class TestProbes:
    def get(self, probes: Probes, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{probes.port}{path}", timeout=10)

    def test_it_is_alive_while_rounds_end_whatever_they_saw(self) -> None:
        now = 0.0
        with Probes("127.0.0.1", 0, lambda: now) as probes:
            assert self.get(probes, "/healthz").status_code == 200
            now = GUARDIAN_STALLED
            assert self.get(probes, "/healthz").status_code == 503
            probes.tell(None)
            assert self.get(probes, "/healthz").status_code == 200

    def test_its_metrics(self) -> None:
        claim: Any = None
        ended = Ended(claim, Restored.DONE, "why")
        with Probes("127.0.0.1", 0) as probes:
            common = {"plan": "llm", "kind": "lora", "namespace": "default"}
            reading = Reading("llm", "lora", "default", "a", "b", Phase.PAUSED, 20, None, unwatched=2.5)
            closed = Closed(common, "rolled-back", Reason.ALARM, 90.0)
            seen = Round(3, 1, 2.5, (ended, ended), readings=(reading,), closed=(closed,))
            probes.tell(seen)
            probes.tell(None)
            lines = self.get(probes, "/metrics").text.splitlines()
            assert self.get(probes, "/").status_code == 404
        assert "inference_rollouts_claimed 3" in lines
        assert "inference_rollouts_guarded 1" in lines
        own = 'plan="llm",kind="lora",namespace="default"'
        assert f"inference_rollout_unwatched_seconds{{{own}}} 2.5" in lines
        assert f'inference_rollout_outcomes_total{{{own},outcome="rolled-back",reason="alarm"}} 1' in lines
        assert f'inference_rollout_outcomes_total{{{own},outcome="promoted",reason="passed"}} 0' in lines
        assert f'inference_rollout_phase{{{own},phase="paused"}} 1' in lines
        assert 'inference_rollouts_ended_total{how="done"} 2' in lines
        assert all(line.startswith("#") or line.count(" ") == 1 for line in lines)


class TestTelling:
    """Of a rollout that an alarm has ended, to a receiver of CloudEvents."""

    def test_once_tells_what_it_did_and_ends(self, step: Step, tmp_path: Path) -> None:
        address, token = tmp_path / "address", tmp_path / "token"
        token.write_text("t\n")
        with receiving() as receiver:
            address.write_text(f"{receiver.url}\n")
            command = [
                "guardian",
                "--once",
                "--webhook-file",
                str(address),
                "--webhook-token-file",
                str(token),
            ]
            assert main(command) == 0
        assert receiver.occasions == ["rolled-back"]
        assert receiver.headers[0]["Authorization"] == "Bearer t"

    def test_what_is_no_address_is_refused_at_once(self, step: Step, tmp_path: Path) -> None:
        (tmp_path / "address").write_text("example.com")
        assert main(["guardian", "--once", "--webhook-file", str(tmp_path / "address")]) == 2

    def test_a_round_waits_for_no_receiver_and_nothing_is_lost(self, step: Step) -> None:
        [claim] = step.run.traffic.claims()
        seen = Round(taken=((claim, "default"),))
        with receiving() as receiver:
            receiver.hangs = True
            herald = Herald(Receiver(receiver.url))
            herald.tell(seen)
            assert receiver.came.wait(30)
            herald.tell(seen)
            receiver.hangs = False
            receiver.let_go.set()
            herald.tell(None, wait=True)
            herald.tell(seen, wait=True)
        assert receiver.occasions == ["unwatched"]

    def test_a_request_that_does_not_end_is_left_at_its_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inference_rollouts.cli.probes.PROBE_TIMEOUT", 0.1)
        with (
            Probes("127.0.0.1", 0) as probes,
            socket.create_connection(("127.0.0.1", probes.port or 0)) as slow,
        ):
            slow.settimeout(10)
            slow.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert slow.recv(1) == b"", "it was closed"

    def test_without_a_port_nobody_listens(self) -> None:
        with Probes("127.0.0.1", None) as probes:
            assert probes.port is None


class TestWatching:
    def test_get_says_who_watches_and_what_was_concluded(self) -> None:
        step = Step(clock=lambda: 1000.0)
        seen = overview(step.cluster)
        lines = listing(seen, "default")
        assert not seen.mistakes
        assert "WATCHED BY" in lines[0]
        assert "task " in lines[1]
        step.cluster.clock = lambda: 1000.0 + LEASE_SECONDS
        [_, row, headline] = listing(overview(step.cluster), "default")
        assert "watched by nobody, since task " in headline
        assert "nobody, since task " in row
        assert f"was last seen {LEASE_SECONDS} s ago" in row
        assert CANARY in row

    def test_watch_shows_what_has_changed(self) -> None:
        seen = iter([["a"], ["a"], ["b"], ["b"], ["a"]])
        shown = watch.changes(lambda: next(seen), sleep=lambda _: None)
        assert list(islice(shown, 3)) == [["a"], ["b"], ["a"]]

    def test_watch_ends_with_ctrl_c(
        self, step: Step, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(watch, "changes", lambda look: watch_once(look, interrupted))
        assert main(["watch"]) == 0
        assert "watched by nobody, since" in capsys.readouterr().out


def watch_once(look: Any, end: Any) -> Any:
    yield look()
    end()
