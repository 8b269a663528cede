"""The claim: all that moving, showing and finishing a rollout need, in one annotation of each moved object.

It is written in the same guarded patch as the weights, so it is never behind them. Whatever finishes a
rollout (a task, a trigger, a person with kubectl) reads it here and needs nothing else.
"""

from __future__ import annotations

import json
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_rollouts.core.errors import ClaimUnreadable
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, title_of
from inference_rollouts.core.routing.rules import entries_of, matches_of, rules_of
from inference_rollouts.core.routing.weights import MAX_WEIGHT, SPELLINGS

CLAIM = "inference-rollouts.dev/claim"
"""The annotation of an object that a rollout moves."""
ENDING = "inference-rollouts.dev/ending"
"""The annotation that says how the last rollout let the object go, and which it was."""

SCHEMA = 1
LIMIT = 128 * 1024  # bytes of a new claim: half of what all annotations of an object may have together
ROOM = 64 * 1024  # bytes that those are to leave: a claim, and what it leaves, grows with every command

LONGEST_WHO = 253  # characters of the name of whoever commands
COMMANDS_KEPT = 10  # on a claim, and on what it let go: for the report
LONGEST_WHY = 500  # characters of the reason

Share = Annotated[int, Field(ge=0, le=100)]
Moment = Annotated[float, Field(ge=0)]
"""Unix seconds."""


class _Part(BaseModel):
    """Strict, frozen, and keeping what it does not know: a newer version may have written it."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class Phase(StrEnum):
    """What a rollout is doing with the object."""

    PROGRESSING = "progressing"
    """Weights may be raised, each by its permission."""
    PAUSED = "paused"
    """The share stays as it is until somebody resumes or ends the rollout."""
    RETURNING = "returning"
    """Everything goes back. No raise follows; nothing but the end leaves this phase."""


class Owner(_Part):
    """Which run of which Airflow began it, and a link for people."""

    airflow: str = ""
    dag: str = ""
    run: str
    link: str = ""


class Place(_Part):
    """A rule that is moved, with its weighted list and filters as they were found.

    A rule is known by its `name`, else by what it `matches` (canonical JSON); `path`, a JSON pointer, is
    where it was first seen.
    """

    path: Annotated[str, Field(pattern=r"^/spec(/rules/\d+)?$")]
    name: str | None = None
    matches: str | None = None
    found: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]
    filters: tuple[dict[str, Any], ...] | None = None


class Permission(_Part):
    """The verdict that allows the next raise: of this `step` (0: warm-up), at its share, since its shift."""

    step: Annotated[int, Field(ge=0)]
    percent: Share
    since: Moment
    decision: Literal["advance"] = "advance"
    at: Moment


class What(StrEnum):
    """What people may command."""

    PAUSE = "pause"
    """No raise until it is resumed; it is watched, and alarms, as ever."""
    RESUME = "resume"
    SKIP_BAKE = "skip_bake"
    """The step that stands need bake no longer; all else that its judge wants it must still show."""
    RAISE_NOW = "raise_now"
    """The step that stands passes with the next look that is no alarm."""
    PROMOTE_NOW = "promote_now"
    """So does every step that is left."""
    ABORT = "abort"
    """Everything goes back."""
    UNDO = "undo"
    """After a promotion: all traffic back to what served before."""


class Command(_Part):
    """What somebody commanded, the latest only: `sequence` grows with each.

    `at` is a time of the API server's clock, `step` the one that stood then. `switch`: it was no person's own
    doing, but that of the switch that stops everything, so that it ends with that. Who may try again to give
    the same one gives it a `mark`, by which it is known.
    """

    what: Annotated[What, Field(strict=False)]
    who: Annotated[str, Field(min_length=1, max_length=LONGEST_WHO)]
    why: Annotated[str, Field(max_length=LONGEST_WHY)] = ""
    at: Moment
    sequence: Annotated[int, Field(ge=1)]
    step: Annotated[int, Field(ge=0)] = 0
    switch: bool = False
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.who}: {self.why.rstrip('.')}" if self.why else self.who


class Floor(_Part):
    """A lower bound of somebody's autoscaler, `raised` while the rollout runs and put back when it ends.

    One that is `unset` is taken out instead: it holds where nobody asks, below all others.
    """

    api: str
    kind: str
    name: str
    path: str
    found: int | None = None
    raised: int = 0
    unset: bool = False

    @property
    def held(self) -> int | None:
        """What it is while the rollout runs; None: it is not there."""
        return None if self.unset else self.raised


class Guard(_Part):
    """What whoever watches without the plan needs of it.

    The pools of both sides, and how many ready `pods` of stable's carried all traffic; the `metrics` by which
    a storm is seen (the error metric of the plan's metric set, as JSON) with the labels of both arms, limits,
    and the seconds between observations; none where the claim was made before there were any.
    """

    stable_pool: str
    canary_pool: str
    pods: Annotated[int, Field(ge=0)] = 0
    metrics: dict[str, Any] | None = None
    canary: dict[str, Any] = Field(default={})
    stable: dict[str, Any] = Field(default={})
    limits: dict[str, Any] = Field(default={})
    interval: Annotated[float, Field(gt=0)] = 5.0
    scrape_delay: Annotated[float, Field(ge=0)] = 0.5


class Claim(_Part):
    """A rollout's hold on one object.

    `token` is random, of one try of one run; `epoch` grows when the rollout is taken over. `places` are as
    they were before the first write. `percent` is the canary's share of what stable had, as the last write
    set it (at `since`, for `step` of `steps`), `mirror` the share that is mirrored to it. `verdict` permits
    the next raise. By `next_move_by`, a time of the API server's clock, somebody must have moved on (None:
    nobody need); `abandon_after` that, in seconds, a guardian ends the rollout. `committed`: promotion is
    decided and may only be completed. `alarm`: the canary was found bad, so that our own two weights go back
    whatever others have put beside them. `command` is the latest, `earlier` a few before it; `paused`
    is since when it is, `resumed` when it last went on (times of the API server's clock): no deadline counts
    what was before. `guard` is what those need who watch without the plan. `undo`: it undoes a promotion (the
    pool of before is its canary, with all traffic), and stays so at `next_move_by` unless there is an alarm.
    `kind` is the plan's, and the rollout `began` then (0: nobody knows).
    `version` is what is rolled out, where the plan chose it. A rollout that goes back at the end of its
    window does so at `leave_by` (Unix seconds), which is not held against the version.
    """

    schema_: Annotated[int, Field(ge=0, alias="schema")] = SCHEMA
    token: Annotated[str, Field(min_length=1)]
    epoch: Annotated[int, Field(ge=1)] = 1
    owner: Owner
    plan: str = ""
    kind: str = ""
    digest: str = ""
    began: Moment = 0.0
    stable: Annotated[str, Field(min_length=1)]
    canary: Annotated[str, Field(min_length=1)]
    steps: Annotated[int, Field(ge=1)]
    places: Annotated[tuple[Place, ...], Field(min_length=1)]
    phase: Annotated[Phase, Field(strict=False)] = Phase.PROGRESSING
    step: Annotated[int, Field(ge=0)] = 0
    percent: Share = 0
    mirror: Share = 0
    since: Moment = 0.0
    verdict: Permission | None = None
    next_move_by: Moment | None = None
    abandon_after: Annotated[float, Field(gt=0)] = 300.0
    committed: bool = False
    alarm: bool = False
    command: Command | None = None
    earlier: tuple[Command, ...] = ()
    paused: Moment | None = None
    resumed: Moment = 0.0
    floors: tuple[Floor, ...] = ()
    guard: Guard | None = None
    undo: bool = False
    version: str = ""
    leave_by: Moment | None = None

    model_config = ConfigDict(populate_by_name=True)

    def to_json(self) -> str:
        """Canonical."""
        value = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def with_(self, **changes: Any) -> Claim:
        """The claim with other values."""
        return self.model_copy(update=changes)

    @property
    def commands(self) -> tuple[Command, ...]:
        """The latest commands in their order."""
        return (*self.earlier, *([self.command] if self.command else []))[-COMMANDS_KEPT:]

    def returning(self) -> Claim:
        """The claim in an epoch in which it goes back: nothing is raised any more."""
        if self.phase is Phase.RETURNING:
            return self
        return self.with_(
            phase=Phase.RETURNING, epoch=self.epoch + 1, committed=False, verdict=None, paused=None
        )


class Ending(StrEnum):
    """How a rollout let an object go."""

    PROMOTED = "promoted"
    RESTORED = "restored"


class LastEnding(_Part):
    """What is left on an object: how the last rollout (its `token`) let it go, when, and why.

    `floors` are still to be put back. `claim` is the last one of a promotion, from which it can be undone,
    also where that was tried, or a rollout since then, and sent back; `commands` are what people, and the
    switch, commanded. `version` is what the rollout of `plan` was of; empty where the plan chose none, or
    where the end says nothing of it. `undone`: it had been promoted, and no longer is.
    """

    token: str
    ending: Annotated[Ending, Field(strict=False)]
    run: str = ""
    at: Moment = 0.0
    why: str = ""
    floors: tuple[Floor, ...] = ()
    claim: Claim | None = None
    commands: tuple[Command, ...] = ()
    plan: str = ""
    version: str = ""
    undone: bool = False


class Standing(StrEnum):
    """How an object stands to a rollout."""

    GONE = "gone"
    FREE = "free"
    """It does not claim the object, and did not let it go."""
    PROMOTED = "promoted"
    RESTORED = "restored"
    CLAIMED = "claimed"
    UNREADABLE = "unreadable"


def standing_of(obj: K8sObject | None, token: str) -> Standing:
    """How an object (None: there is none) stands to the rollout with this token."""
    if obj is None:
        return Standing.GONE
    try:
        if is_claimed_by(obj, token):
            return Standing.CLAIMED
    except ClaimUnreadable:
        return Standing.UNREADABLE
    ending = ended(obj, token)
    return Standing(ending.value) if ending else Standing.FREE


def place_of(obj: K8sObject, path: str) -> Place:
    """A rule as it is now."""
    rule = rules_of(obj)[path]
    return Place(
        path=path,
        name=rule.get("name"),
        matches=matches_of(rule),
        found=tuple(entries_of(obj, rule)),
        filters=tuple(rule["filters"]) if "filters" in rule else None,
    )


def read_claim(obj: K8sObject) -> Claim | None:
    """The claim on this object, None when there is none. Raises ClaimUnreadable when somebody edited it."""
    text = annotations_of(obj).get(CLAIM)
    if text is None:
        return None
    try:
        return _claim_of(text, obj["kind"])
    except (ValueError, RecursionError) as error:
        raise ClaimUnreadable(
            f"The annotation {CLAIM} of {title_of(obj)} is unreadable ({_first(error)}), so nobody knows "
            "what its weights were; they stay as they are. Set them by hand, then remove the annotation."
        ) from error


@lru_cache(maxsize=2048)
def _claim_of(text: str, kind: str) -> Claim:
    """Kept, since who watches reads the same again and again. Raises ValueError."""
    claim = Claim.model_validate_json(text)
    _require_lists(claim, kind)
    return claim


def _require_lists(claim: Claim, kind: str) -> None:
    """Raises ValueError unless what was found is a weighted list, with stable in it, of this kind of object.

    Every way back is computed from these lists, so that one which is none would end in the middle of it.
    """
    if claim.stable == claim.canary:
        raise ValueError(f"stable and canary are both {claim.stable}")
    field = SPELLINGS[kind].name
    for number, place in enumerate(claim.places):
        names = [entry.get(field) for entry in place.found]
        weights = [entry.get("weight", 0) for entry in place.found]
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"places.{number}.found: an entry has no {field}")
        if not all(type(weight) is int and 0 <= weight <= MAX_WEIGHT for weight in weights):
            raise ValueError(f"places.{number}.found: a weight is no number from 0 to {MAX_WEIGHT}")
        if claim.stable not in names:
            raise ValueError(
                f"places.{number}.found: {claim.stable} is not among {', '.join(map(str, names))}"
            )


def read_ending(obj: K8sObject) -> LastEnding | None:
    """How the last rollout let this object go; None when nobody knows."""
    text = annotations_of(obj).get(ENDING)
    try:
        last = None if text is None else LastEnding.model_validate_json(text)
        if last and last.claim:
            _require_lists(last.claim, obj["kind"])
    except (ValueError, RecursionError):
        return None
    return last


def ended(obj: K8sObject, token: str) -> Ending | None:
    """How the rollout with this token let the object go; None if it was not the last, or has not."""
    last = read_ending(obj)
    return last.ending if last and last.token == token else None


def is_claimed_by(obj: K8sObject, token: str) -> bool:
    """Whether the rollout with this token claims the object."""
    claim = read_claim(obj)
    return claim is not None and claim.token == token


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        mistake = error.errors()[0]
        return f"{'.'.join(map(str, mistake['loc'])) or 'all of it'}: {mistake['msg']}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
