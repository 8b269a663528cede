"""What happened in a run, in order of time."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.reporting.ladder import happenings, ladder
from inference_rollouts.core.reporting.seen import SeenRun, SeenTask
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Phase
from tests.support.plans import llm_plan


def told(tasks: dict[str, SeenTask], xcoms: dict[tuple[str, str], Any]) -> list[tuple[float, str, str]]:
    run = SeenRun("rollout_llm", "r1", "running", began=1.0, by="mara", tasks=tasks, xcoms=xcoms)
    return [(each.time, each.kind, each.text) for each in happenings(llm_plan(), run, None)]


def judged(verdict: str) -> dict[str, Any]:
    return {"verdict": verdict, "reason": "all is well", "evidence": 0.4, "time": 50.0}


def test_what_somebody_else_changed_is_told_when_it_was_met() -> None:
    found = told(
        {"step_1.judge": SeenTask("failed", 10.0, 42.0)},
        {("step_1.judge", "drift"): "/spec/rules/0 was changed by kubectl"},
    )
    assert found[-1] == (42.0, "drift", "/spec/rules/0 was changed by kubectl")


def test_a_person_is_asked_after_a_step_that_passed() -> None:
    found = told(
        {"step_1.ask": SeenTask("awaiting_input", 51.0)},
        {("step_1.judge", "return_value"): judged("advance")},
    )
    assert [each[:2] for each in found] == [(1.0, "start"), (50.0, "passed"), (51.0, "question")]


def test_a_judge_that_asks_is_told_once() -> None:
    found = told(
        {"step_1.ask": SeenTask("awaiting_input", 51.0)}, {("step_1.judge", "return_value"): judged("ask")}
    )
    assert [each[:2] for each in found] == [(1.0, "start"), (50.0, "question")]


def test_nobody_is_asked_where_the_question_was_skipped() -> None:
    found = told(
        {"step_1.ask": SeenTask("skipped", 51.0, 51.0)},
        {("step_1.judge", "return_value"): judged("advance")},
    )
    assert [each[:2] for each in found] == [(1.0, "start"), (50.0, "passed")]


@pytest.mark.parametrize(
    ("phase", "states"),
    [
        (Phase.PROGRESSING, ["passed", "now", "next"]),
        (Phase.PAUSED, ["passed", "now", "next"]),
        (Phase.RETURNING, ["passed", "failed", "skipped"]),
    ],
)
def test_of_a_rollout_that_goes_back_no_step_is_to_come(phase: Phase, states: list[str]) -> None:
    """Also where no judge says so, but a person, a guardian or a task that died."""
    xcoms: dict[tuple[str, str], Any] = {
        ("step_1.shift", "return_value"): {"percent": 5, "since": 10.0},
        ("step_1.judge", "return_value"): judged("advance"),
        ("step_2.shift", "return_value"): {"percent": 20, "since": 60.0},
    }
    run = SeenRun("rollout_llm", "r1", "running", began=1.0, by="mara", xcoms=xcoms)
    status = Status(
        headline="",
        plan="llm",
        run="r1",
        link="",
        stable="llm-pool",
        canary="llm-pool-version-2",
        phase=phase,
        percent=20,
        mirror=0,
        step=2,
        steps=4,
        since=60.0,
        progress=None,
        watcher="",
    )
    assert [rung.state for rung in ladder(llm_plan(), run, status)][:3] == states
