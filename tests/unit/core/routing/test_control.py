"""Commands: what each means to a claim as it stands, and in which order they count."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimUnreadable, CommandRefused, Held, HeldTooLong
from inference_rollouts.core.routing.claim import CLAIM, Claim, Command, Permission, Phase, What, read_claim
from inference_rollouts.core.routing.control import (
    aborted,
    command_of,
    commanded,
    effect,
    hold_ends,
    hurried,
    is_paused,
    latest,
    require_resumed,
    skipped,
)
from inference_rollouts.core.routing.duty import Duty, duty, why_ended
from inference_rollouts.core.routing.permission import permission_of, require_raise
from tests.support.claims import attached, claim_on
from tests.support.routes import ref, route

NOW, DAY = 2000.0, 86400.0
ROUTE = route([ref("llm-pool")])


def claim(**changes: Any) -> Claim:
    return claim_on(ROUTE).with_(
        **{"step": 1, "percent": 20, "since": 1000.0, "next_move_by": NOW, **changes}
    )


def give(claim: Claim, what: What, at: float = NOW) -> Claim:
    return commanded(claim, command_of(what, "anna", "too warm.", [claim], at))


def test_a_pause_keeps_the_share_and_nothing_is_due_while_it_lasts() -> None:
    paused = give(claim(verdict=permission_of(claim(), NOW)), What.PAUSE)
    assert (paused.phase, paused.percent, paused.paused) == (Phase.PAUSED, 20, NOW)
    assert is_paused([claim(), paused])
    assert duty([paused], [None], "guardian", NOW + 6 * DAY) is Duty.WATCH
    with pytest.raises(Held, match=r"Paused by anna: too warm\. new keeps 20 %"):
        require_raise(ROUTE, paused, 2, None, NOW)


def test_after_the_longest_pause_it_goes_back_and_says_why() -> None:
    """And was said to beforehand, with the command and as long as it lasted."""
    paused = give(claim(since=NOW - 10), What.PAUSE)
    ends = NOW + 7 * DAY
    assert hold_ends(paused) == ends
    assert effect(paused, paused.commands[-1]).endswith("; after 7d it goes back of itself")
    require_resumed([paused], ends - 1)
    words = "It was paused for 7d by anna: too warm, and nobody resumed it."
    with pytest.raises(HeldTooLong, match=words):
        require_resumed([claim(), paused], ends)
    abandoned = ends + paused.abandon_after
    assert duty([paused], [None], "guardian", abandoned + 1) is Duty.END
    assert why_ended([paused], abandoned + 1) == words.rstrip(".")


def test_all_pauses_of_a_step_together_last_no_longer() -> None:
    """Whatever Airflow waits for is given as much longer, once."""
    once = give(give(claim(since=NOW - 10), What.PAUSE), What.RESUME, NOW + 5 * DAY)
    again = give(once, What.PAUSE, NOW + 6 * DAY)
    assert hold_ends(again) == NOW + 8 * DAY
    assert hold_ends(once) == math.inf
    later = again.with_(since=NOW + 5.5 * DAY)
    assert hold_ends(later) == NOW + 13 * DAY, "those of the step before are over"


def test_what_is_resumed_has_the_time_that_it_had_and_its_permission() -> None:
    verdict = permission_of(claim(), NOW)
    resumed = give(give(claim(verdict=verdict), What.PAUSE), What.RESUME, NOW + 500)
    assert (resumed.phase, resumed.paused, resumed.resumed) == (Phase.PROGRESSING, None, NOW + 500)
    assert (resumed.next_move_by, resumed.verdict) == (NOW + 500, verdict)
    require_raise(ROUTE, resumed, 2, None, NOW)


def test_an_abort_wins_whatever_stood_there() -> None:
    for before in (claim(), give(claim(), What.PAUSE), give(claim(), What.PROMOTE_NOW)):
        back = give(before, What.ABORT)
        assert (back.phase, back.epoch, back.verdict) == (Phase.RETURNING, 2, None)
        assert aborted([back])
        assert duty([back], [None], "guardian", NOW) is Duty.END
        assert give(back, What.ABORT) is back
        for what in set(What) - {What.ABORT}:
            with pytest.raises(CommandRefused, match="on its way back to llm-pool"):
                give(back, what)


def test_a_command_is_taken_once_and_a_later_one_is_not_undone_by_an_earlier() -> None:
    pause = command_of(What.PAUSE, "anna", "", [claim()], NOW)
    paused = commanded(claim(), pause)
    assert commanded(paused, pause) is paused
    resumed = give(paused, What.RESUME)
    assert commanded(resumed, pause) is resumed
    assert latest([paused, resumed]) == resumed.command


def test_a_raise_is_commanded_for_the_step_that_stands_and_a_promotion_for_all_that_are_left() -> None:
    raised, promoted, baked = (
        give(claim(), what) for what in (What.RAISE_NOW, What.PROMOTE_NOW, What.SKIP_BAKE)
    )
    assert hurried([raised]) == raised.command
    assert hurried([raised.with_(step=2)]) is None
    assert hurried([promoted.with_(step=2)]) == promoted.command
    assert hurried([baked]) is None
    assert skipped([baked])
    assert not skipped([baked.with_(step=2)])
    for hurry in (raised, promoted, baked):
        assert hurried([give(hurry, What.PAUSE)]) is None


@pytest.mark.parametrize(
    ("before", "what", "words"),
    [
        (claim(), What.RESUME, "It is not paused. new keeps 20 %. Nothing was changed."),
        (give(claim(), What.PAUSE), What.PAUSE, "paused already, by anna: too warm."),
        (give(claim(), What.PAUSE), What.RAISE_NOW, "paused by anna: too warm: resume it first"),
        (claim(step=0, percent=0), What.RAISE_NOW, "no traffic yet"),
        (claim(verdict=permission_of(claim(), NOW)), What.SKIP_BAKE, "Step 1 has passed already"),
        (claim(committed=True), What.ABORT, "promotion is decided"),
        (claim(), What.UNDO, "abort it instead"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(before: Claim, what: What, words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        give(before, what)


@pytest.mark.parametrize(
    ("what", "who", "why", "words"),
    [
        ("stop", "anna", "", "There is no command stop; there are: pause, resume"),
        ("pause", "", "", "needs somebody's name"),
        ("pause", "anna", "x" * 501, "a reason of at most 500"),
    ],
)
def test_what_is_no_command_is_refused(what: str, who: str, why: str, words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        command_of(what, who, why, [claim()], NOW)


@pytest.mark.parametrize("spoiled", [{"what": "dance"}, {"sequence": "1"}, {"sequence": 0}, {"who": ""}])
def test_a_command_that_somebody_spoiled_makes_the_claim_unreadable(spoiled: dict[str, Any]) -> None:
    live = attached(ROUTE)
    good = claim(command=Command(what=What.PAUSE, who="anna", at=NOW, sequence=1))
    live["metadata"]["annotations"][CLAIM] = good.to_json()
    assert read_claim(live) == good
    bad = json.loads(good.to_json())
    bad["command"] |= spoiled
    live["metadata"]["annotations"][CLAIM] = json.dumps(bad)
    with pytest.raises(ClaimUnreadable, match="command"):
        read_claim(live)


@pytest.mark.parametrize("what", [what for what in What if what is not What.UNDO])
def test_every_command_says_what_happens_to_the_traffic(what: What) -> None:
    before = give(claim(), What.PAUSE) if what is What.RESUME else claim()
    after = give(before, what)
    assert after.command
    words = effect(after, after.command)
    assert ("back to llm-pool" if what is What.ABORT else "new keeps 20 %") in words


def test_permission_survives_only_the_step_that_it_was_given_for() -> None:
    verdict = Permission(step=1, percent=20, since=1000.0, at=NOW)
    assert give(claim(verdict=verdict), What.PROMOTE_NOW).verdict == verdict
