from typing import Any

import pytest

from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.reporting.report import Outcome, markdown, outcome_of
from tests.support.plans import llm


@pytest.mark.parametrize(
    ("rollback", "promote", "outcome"),
    [
        ("skipped", "success", Outcome.PROMOTED),
        ("success", "skipped", Outcome.ROLLED_BACK),
        ("success", "failed", Outcome.ROLLED_BACK),
        ("skipped", "upstream_failed", Outcome.NOT_STARTED),
        ("skipped", "skipped", Outcome.NOT_STARTED),
        ("failed", "skipped", Outcome.ASTRAY),
        ("failed", "success", Outcome.ASTRAY),
        ("upstream_failed", "upstream_failed", Outcome.ASTRAY),
    ],
)
def test_the_outcome_follows_from_how_the_last_tasks_ended(
    rollback: str, promote: str, outcome: Outcome
) -> None:
    assert outcome_of({"rollback": rollback, "promote": promote}) is outcome


@pytest.mark.parametrize(
    ("promote", "attached", "completed", "outcome"),
    [
        ("failed", True, True, Outcome.PROMOTED),
        ("failed", True, False, Outcome.LET_GO),
        ("success", True, False, Outcome.PROMOTED),
        ("skipped", False, False, Outcome.NOT_STARTED),
    ],
)
def test_a_rollback_with_nothing_to_restore_had_a_reason(
    promote: str, attached: bool, completed: bool, outcome: Outcome
) -> None:
    states = {"rollback": "skipped", "promote": promote}
    assert outcome_of(states, attached=attached, completed=completed) is outcome


def test_every_outcome_says_where_the_traffic_is() -> None:
    assert len({outcome.sentence for outcome in Outcome}) == len(Outcome)


def test_the_summary_names_each_step_and_why() -> None:
    plan = parse_plan(llm())
    text = markdown(
        plan,
        Outcome.ROLLED_BACK,
        "the canary is worse.",
        [
            {"verdict": "advance", "reason": "fine."},
            {"verdict": "rollback", "reason": "the canary is worse."},
        ],
    )
    assert text.startswith("## llm-pool -> llm-pool-version-2: rolled back")
    assert "The canary is worse. Now the route is exactly as it was found." in text
    assert "| 1 | 5 % | advance | fine. |" in text
    assert "| 2 | 25 % | rollback | the canary is worse. |" in text


@pytest.mark.parametrize(
    ("outcome", "retention", "words"),
    [
        (
            Outcome.PROMOTED,
            {},
            "`llm-pool` keeps running, so that all traffic can go back to it, until somebody",
        ),
        (
            Outcome.PROMOTED,
            {"keep": "2d"},
            "go back to it, for 2d at least, then it is the turn of DAG `retire_llm`",
        ),
        (Outcome.ROLLED_BACK, {}, "`llm-pool-version-2` keeps running for inspection, for 1h at least"),
        (Outcome.ROLLED_BACK, {"keep_rolled_back": None}, "until somebody starts DAG `retire_llm`."),
        (Outcome.NOT_STARTED, {}, None),
    ],
)
def test_the_summary_says_what_stays_and_until_when(
    outcome: Outcome, retention: dict[str, Any], words: str | None
) -> None:
    plan = llm(retention=retention)
    text = markdown(parse_plan(plan), outcome, "so.", [])
    assert words in text if words else "running" not in text
