"""How a rollout stands, in one word: what a list of rollouts is sorted by, and coloured by."""

from __future__ import annotations

from enum import StrEnum

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Phase


class Standing(StrEnum):
    """In the order in which people want to see them: first those that want a person."""

    ASTRAY = "astray"
    """It ended, and the traffic is neither here nor there."""
    QUESTION = "question"
    """A person is asked."""
    ALARM = "alarm"
    """It goes back."""
    UNWATCHED = "unwatched"
    """It claims traffic and nobody watches it."""
    PAUSED = "paused"
    RUNNING = "running"
    PREPARING = "preparing"
    """The canary has no traffic yet."""
    ROLLED_BACK = "rolled back"
    UNCONFIRMED = "restored, not yet confirmed"
    LET_GO = "let go"
    NOT_STARTED = "not started"
    PROMOTED = "promoted"
    DRY_RUN = "dry run"
    """It only looked ahead."""
    OVER = "over"
    """It ended and left no word about how."""

    @property
    def wants_a_person(self) -> bool:
        return self in (Standing.ASTRAY, Standing.QUESTION, Standing.ALARM, Standing.UNWATCHED)


def standing_of(run: SeenRun, status: Status | None, *, watched: bool | None) -> Standing:
    """How a run stands. `status` is its latest, `watched` None where nobody knows whether it is."""
    if run.is_over:
        return _ended(run)
    if run.question is not None:
        return Standing.QUESTION
    if status is None:
        return Standing.PREPARING
    if status.phase is Phase.RETURNING or _alarmed(status):
        return Standing.ALARM
    if watched is False:
        return Standing.UNWATCHED
    if status.phase is Phase.PAUSED:
        return Standing.PAUSED
    return Standing.RUNNING if status.step else Standing.PREPARING


def _alarmed(status: Status) -> bool:
    return status.progress is not None and status.progress.verdict == Verdict.ROLLBACK


def _ended(run: SeenRun) -> Standing:
    if run.dry:
        return Standing.DRY_RUN
    outcome = run.left("report", "outcome")
    try:
        return Standing(Outcome(outcome).value)
    except ValueError:
        return Standing.NOT_STARTED if run.left("preflight", "summary") else Standing.OVER
