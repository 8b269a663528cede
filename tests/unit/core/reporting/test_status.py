"""One line that says where a rollout is."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.reporting.status import progress_of, status_of
from inference_rollouts.core.routing.claim import Claim, Command, Permission, Phase, What
from inference_rollouts.core.routing.watch import LONGEST_REASON, Progress
from tests.support.claims import claim_on
from tests.support.judging import judged, quiet_windows
from tests.support.plans import llm_plan
from tests.support.routes import ref, route

ROUTE = route([ref("llm-pool")])


def claim(**changes: Any) -> Claim:
    return claim_on(ROUTE).with_(**{"step": 1, "percent": 20, "since": 1000.0, **changes})


def progress(**changes: Any) -> Progress:
    plain = {
        "step": 1, "verdict": "inconclusive", "reason": "Baking: 40 s of 300 s.", "evidence": 3.0,
        "alarm_at": 20.0, "baked": 40.0, "bake": 300.0, "following": 50,
    }  # fmt: skip
    return Progress.model_validate(plain | changes)


def headline(progress: Progress | None = None, doing: str = "", **changes: Any) -> str:
    return status_of([claim(**changes)], progress, doing=doing).headline


def test_a_step_that_bakes_says_how_long_on_what_evidence_and_what_comes_next() -> None:
    status = status_of([claim()], progress(), "triggerer-1")
    assert status.headline == (
        "20 % (step 1 of 3) - baking 40 s of 5 min - no sign that it is worse, evidence 3 of 20 - "
        "next 50 % in about 5 min - watched by triggerer-1"
    )
    assert next(iter(status.to_json())) == "headline"


@pytest.mark.parametrize(
    ("evidence", "words"), [(3.1, "no sign that"), (3.2, "- signs that"), (10.0, "strong signs that")]
)
def test_signs_follow_the_scale_of_jeffreys(evidence: float, words: str) -> None:
    assert words in headline(progress(evidence=evidence))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "no data", "reason": "Prometheus is away."}, "Prometheus is away - no sign"),
        ({"baked": 300.0, "reason": "Not yet shown."}, "baked 5 min - no sign that it is worse, evidence 3"),
        ({"baked": 300.0, "reason": "Not yet shown."}, "of 20 - Not yet shown"),
        ({"following": None}, "next promotion in about"),
    ],
)
def test_what_keeps_a_step_is_said(changes: dict[str, Any], words: str) -> None:
    assert words in headline(progress(**changes))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"step": 0, "percent": 0}, "0 % (before step 1 of 3) - getting ready"),
        ({}, "20 % (step 1 of 3) - being judged"),
        ({"percent": 0, "mirror": 10}, "10 % mirrored (step 1 of 3) - being judged"),
        (
            {"verdict": Permission(step=1, percent=20, since=1000.0, at=1.0)},
            "20 % (step 1 of 3) - passed, to be raised",
        ),
        (
            {"step": 3, "verdict": Permission(step=3, percent=20, since=1000.0, at=1.0)},
            "20 % (step 3 of 3) - passed, to be promoted",
        ),
        ({"committed": True}, "20 % (step 1 of 3) - being promoted"),
        ({"phase": Phase.PAUSED}, "20 % (step 1 of 3) - paused"),
        (
            {"phase": Phase.PAUSED, "command": Command(what=What.PAUSE, who="anna", at=1.0, sequence=1)},
            "20 % (step 1 of 3) - paused by anna",
        ),
        (
            {"phase": Phase.PAUSED, "paused": 2000.0},
            "20 % (step 1 of 3) - paused; goes back 1970-01-08 00:33 UTC unless resumed",
        ),
        ({"phase": Phase.RETURNING}, "20 % (step 1 of 3) - going back to llm-pool"),
        (
            {"phase": Phase.RETURNING, "alarm": True},
            "20 % (step 1 of 3) - going back to llm-pool after an alarm",
        ),
    ],
)  # fmt: skip
def test_a_claim_alone_says_what_is_done(changes: dict[str, Any], line: str) -> None:
    assert headline(**changes) == line


@pytest.mark.parametrize("changes", [{"step": 2}, {"phase": Phase.RETURNING}])
def test_what_the_judge_said_of_another_step_counts_no_more(changes: dict[str, Any]) -> None:
    status = status_of([claim(**changes)], progress())
    assert status.progress is None
    assert "evidence" not in status.headline


def test_of_several_objects_the_one_behind_counts() -> None:
    assert status_of([claim(step=2, percent=50), claim()]).percent == 20


def test_only_time_is_no_news() -> None:
    one, other = (status_of([claim()], progress(baked=baked)) for baked in (1.0, 2.0))
    assert one.headline != other.headline
    assert one.news == other.news
    assert status_of([claim()], progress(verdict="ask")).news != one.news


def test_a_judgement_becomes_progress_in_bounds() -> None:
    plan = llm_plan()
    judgement = judged(quiet_windows(3)).model_copy(update={"reason": "x" * 1000, "progress": 0.5})
    seen = progress_of(plan, judgement)
    assert len(seen.reason) == LONGEST_REASON
    assert (seen.step, seen.baked, seen.following) == (1, plan.steps[0].bake / 2, plan.steps[1].weight)
    last = progress_of(plan, judgement.model_copy(update={"step": len(plan.steps)}))
    assert last.following is None
