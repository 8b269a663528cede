"""`inference-rollouts watch` and the headline of `get`: where rollouts are, from the cluster alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator

import pytest

from inference_rollouts.cli import get, main, watch
from inference_rollouts.cli.screen import Screen
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.routing.claim import CLAIM
from tests.support.steps import Step

HEADLINE = "50 % (step 1 of 2) - baking 0 s of 0 s - no sign that it is worse"


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step that was observed once."""
    step = Step()
    step.observer().observe(step.since + 0.1)
    for command in (get, watch):
        monkeypatch.setattr(command, "cluster_of", lambda _: step.cluster)
    return step


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person looks once and leaves."""

    def first(look: Callable[[], object]) -> Iterator[object]:
        yield look()

    monkeypatch.setattr(watch, "changes", first)


def test_get_and_watch_say_the_same(step: Step, once: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get"]) == 0
    assert HEADLINE in capsys.readouterr().out
    assert main(["watch"]) == 0
    said = capsys.readouterr().out
    assert HEADLINE in said
    assert "watched by triggerer " in said
    assert "judge: inconclusive: " in said
    assert "\x1b" not in said, "plain where there is no terminal"


def test_json_has_one_line_a_change(step: Step, once: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "llm", "-o", "json"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    [status] = json.loads(line)["rollouts"]
    assert status["headline"].startswith(HEADLINE)
    assert (status["percent"], status["step"], status["progress"]["following"]) == (50, 1, 100)


@pytest.mark.parametrize(
    ("name", "many"),
    [("llm", 1), ("routes-to-llm", 1), ("httproute/routes-to-llm", 1), ("other", 0)],
)
def test_a_name_is_that_of_a_plan_or_of_an_object(
    step: Step, once: None, capsys: pytest.CaptureFixture[str], name: str, many: int
) -> None:
    main(["watch", name, "-o", "json"])
    assert len(json.loads(capsys.readouterr().out)["rollouts"]) == many


@pytest.mark.parametrize("name", ["llm", "routes-to-llm", "httproute/routes-to-llm"])
def test_once_it_is_over_it_says_how_it_ended(
    step: Step, once: None, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    step.run.traffic.way_back.restore("by hand", 2000.0)
    main(["watch", name])
    said = capsys.readouterr().out
    assert "No rollout claims anything" in said
    assert "HTTPRoute routes-to-llm: restored 1970-01-01 00:33:20 UTC by " in said
    assert said.rstrip().endswith(": by hand")


def test_an_unreadable_claim_and_a_cluster_that_is_away_are_said(
    step: Step, once: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step.cluster.route["metadata"]["annotations"][CLAIM] = "{}"
    main(["watch"])
    assert "is unreadable" in capsys.readouterr().out

    def away(_: object) -> None:
        raise ClusterUnavailable("GET", "/", 0, "refused")

    monkeypatch.setattr(watch, "overview", away)
    main(["watch", "-o", "json"])
    assert "does not answer" in json.loads(capsys.readouterr().out)["error"]


def test_a_terminal_is_painted_over() -> None:
    out = io.StringIO()
    screen = Screen(live=True, width=80, out=out)
    screen.paint(["one", "two"])
    screen.paint(["three"])
    assert out.getvalue() == "one\ntwo\n\x1b[2A\r\x1b[Jthree\n"
    assert screen.bar(0.5).count("━") == 15
    assert Screen(live=False, width=80).style("red", "x") == "x"
