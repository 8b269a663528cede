"""How a rollout ended, from how its objects stand, and what people are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.reporting.report import Cause, Outcome, markdown, outcome_of
from inference_rollouts.core.routing.claim import Command, Standing, What
from tests.support.plans import llm

FREE, CLAIMED, UNREADABLE = Standing.FREE, Standing.CLAIMED, Standing.UNREADABLE
PROMOTED, RESTORED, GONE = Standing.PROMOTED, Standing.RESTORED, Standing.GONE


@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize(
    ("standings", "outcome"),
    [
        ([PROMOTED, PROMOTED], Outcome.PROMOTED),
        ([RESTORED, RESTORED], Outcome.ROLLED_BACK),
        ([CLAIMED], Outcome.ASTRAY),
        ([RESTORED, CLAIMED], Outcome.ASTRAY),
        ([PROMOTED, CLAIMED], Outcome.ASTRAY),
        ([FREE, CLAIMED], Outcome.ASTRAY),
        ([RESTORED, UNREADABLE], Outcome.ASTRAY),
        ([PROMOTED, RESTORED], Outcome.ASTRAY),
        ([PROMOTED, FREE], Outcome.ASTRAY),
    ],
)
def test_the_outcome_follows_from_how_every_object_stands_now(
    standings: list[Standing], outcome: Outcome, attached: bool
) -> None:
    assert outcome_of(standings, attached=attached) is outcome


@pytest.mark.parametrize("standing", [PROMOTED, RESTORED, CLAIMED])
def test_an_object_that_is_gone_takes_no_traffic_anywhere(standing: Standing) -> None:
    alone = outcome_of([standing], attached=True)
    assert outcome_of([GONE, standing], attached=True) is alone


@pytest.mark.parametrize("standings", [[FREE], [FREE, FREE], [GONE], []])
@pytest.mark.parametrize(("attached", "outcome"), [(True, Outcome.LET_GO), (False, Outcome.NOT_STARTED)])
def test_what_nobody_claims_was_let_go_or_never_touched(
    standings: list[Standing], attached: bool, outcome: Outcome
) -> None:
    assert outcome_of(standings, attached=attached) is outcome


@pytest.mark.parametrize(("attached", "outcome"), [(True, Outcome.LET_GO), (False, Outcome.ROLLED_BACK)])
def test_what_was_never_claimed_beside_what_went_back_is_as_it_was(attached: bool, outcome: Outcome) -> None:
    assert outcome_of([FREE, RESTORED], attached=attached) is outcome
    assert outcome_of([PROMOTED, RESTORED], attached=attached) is Outcome.ASTRAY


def test_the_summary_says_what_people_commanded() -> None:
    given = Command(what=What.PAUSE, who="anna", why="lunch", at=1.0, sequence=1)
    text = markdown(parse_plan(llm()), Outcome.PROMOTED, Cause("good", "the judge"), [], commands=[given])
    assert "\nCommands: pause by anna: lunch.\n" in text


def test_every_outcome_says_where_the_traffic_is() -> None:
    assert len({outcome.sentence for outcome in Outcome}) == len(Outcome)


def test_the_summary_names_each_step_and_why() -> None:
    plan = parse_plan(llm())
    text = markdown(
        plan,
        Outcome.ROLLED_BACK,
        Cause("the canary is worse.", "the judge of step 2"),
        [
            {"verdict": "advance", "reason": "fine."},
            {"verdict": "rollback", "reason": "the canary is worse."},
        ],
    )
    assert text.splitlines()[0] == (
        "**llm-pool -> llm-pool-version-2: rolled back** by the judge of step 2. "
        "The canary is worse. Now the route is exactly as it was found."
    )
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
        (Outcome.UNCONFIRMED, {}, "`llm-pool-version-2` keeps running for inspection, for 1h at least"),
        (Outcome.NOT_STARTED, {}, None),
    ],
)
def test_the_summary_says_what_stays_and_until_when(
    outcome: Outcome, retention: dict[str, Any], words: str | None
) -> None:
    plan = llm(retention=retention)
    text = markdown(parse_plan(plan), outcome, Cause("so.", "anna"), [])
    assert words in text if words else "running" not in text


def test_a_report_says_why_windows_did_not_hold() -> None:
    plan, good = parse_plan(llm()), Cause("good", "the judge of step 4")
    assert "did not hold for this run: an incident" in markdown(
        plan, Outcome.PROMOTED, good, [], "an incident"
    )
    assert "did not hold" not in markdown(plan, Outcome.PROMOTED, good, [])
