"""What a command means to a rollout as its claims are now.

A command takes effect in the very patch that leaves it on the claim, as far as that can be: nobody can raise
what is paused, or what goes back. What is left to do (to move the traffic back, to let a step pass) whoever
watches reads in the claim. A command to let a step pass counts for the step that stood when it was given,
so that it is obeyed once, however often it is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import ValidationError

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.errors import CommandRefused, HeldTooLong
from inference_rollouts.core.limits import LONGEST_HOLD
from inference_rollouts.core.routing.claim import (
    COMMANDS_KEPT,
    LONGEST_WHO,
    LONGEST_WHY,
    Claim,
    Command,
    Phase,
    What,
)
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.core.routing.switch import Mode, Switch

HURRIES = frozenset({What.SKIP_BAKE, What.RAISE_NOW, What.PROMOTE_NOW})


def command_of(what: str, who: str, why: str, claims: Sequence[Claim], now: float, mark: str = "") -> Command:
    """A new command to the rollout with these claims, one at least. Raises CommandRefused."""
    before = latest(claims)
    try:
        return Command(
            what=What(what),
            who=who,
            why=why,
            at=now,
            sequence=before.sequence + 1 if before else 1,
            step=min(claim.step for claim in claims),
            mark=mark,
        )
    except ValidationError as error:
        raise CommandRefused(
            f"A command needs somebody's name (of at most {LONGEST_WHO} characters) and a reason of at most "
            f"{LONGEST_WHY}. Nothing was changed."
        ) from error
    except ValueError as error:
        known = ", ".join(What)
        raise CommandRefused(
            f"There is no command {what}; there are: {known}. Nothing was changed."
        ) from error


def latest(claims: Sequence[Claim]) -> Command | None:
    """The latest command: whoever gave it may have died before it stood on all of a rollout's claims."""
    commands = [claim.command for claim in claims if claim.command]
    return max(commands, key=lambda command: command.sequence, default=None)


def given(claims: Sequence[Claim], mark: str) -> Command | None:
    """The command with this mark that was given to the rollout before; None where there is none, or no mark.

    Who has not heard what came of a command gives it again: that is no second one, for another step.
    """
    commands = (command for claim in claims for command in claim.commands)
    return next((command for command in commands if mark and command.mark == mark), None)


def commanded(claim: Claim, command: Command) -> Claim:
    """The claim with a command; the very same one where that, or a later one, stands there already.

    A way back ends all commands. Raises CommandRefused where it makes no sense.
    """
    if claim.command and claim.command.sequence >= command.sequence:
        return claim
    if claim.phase is Phase.RETURNING and command.what is What.ABORT:
        return claim
    if why := _refusal(claim, command):
        raise CommandRefused(f"{why} {_keeps(claim)}. Nothing was changed.")
    given = claim.with_(command=command, earlier=claim.commands[1 - COMMANDS_KEPT :])
    match command.what:
        case What.PAUSE:
            return given.with_(
                phase=Phase.PAUSED, paused=command.at if claim.paused is None else claim.paused
            )
        case What.RESUME:
            since = command.at if claim.paused is None else claim.paused
            due = claim.next_move_by
            later = None if due is None else due + max(0.0, command.at - since)
            return given.with_(phase=Phase.PROGRESSING, paused=None, resumed=command.at, next_move_by=later)
        case What.ABORT:
            return given.returning().with_(next_move_by=command.at)
    return given


def standing_order(claims: Sequence[Claim], switch: Switch | None, now: float) -> Command | None:
    """What the switch commands a rollout with these claims at `now`; None where that is done, or nothing.

    When it is off, what it had paused goes on, and nothing else. It stops no undo, which is a way back.
    """
    if not claims or any(c.committed or c.undo or c.phase is Phase.RETURNING for c in claims):
        return None
    before, paused = latest(claims), is_paused(claims)
    if switch and switch.is_on(now):
        if paused and switch.mode is Mode.HOLD:
            return None
        what = What.PAUSE if switch.mode is Mode.HOLD else What.ABORT
        order = command_of(what, switch.owner, switch.why, claims, now)
    elif before and before.switch and paused:
        order = command_of(What.RESUME, before.who, "the switch is off", claims, now)
    else:
        return None
    return order.model_copy(update={"switch": True})


def hurried(claims: Sequence[Claim]) -> Command | None:
    """The command by which the step that stands passes with the next look that is no alarm; None if none."""
    command = _hurry(claims)
    return command if command and command.what is not What.SKIP_BAKE else None


def skipped(claims: Sequence[Claim]) -> Command | None:
    """The command by which the step that stands need bake no longer; None if none."""
    command = _hurry(claims)
    return command if command and command.what is What.SKIP_BAKE else None


def aborted(claims: Sequence[Claim]) -> Command | None:
    """The command by which it goes back; None where it does not, or for another reason."""
    command = latest([claim for claim in claims if claim.phase is Phase.RETURNING and not claim.alarm])
    return command if command and command.what is What.ABORT else None


def is_paused(claims: Sequence[Claim]) -> bool:
    """Whether one object at least may not be given more until somebody resumes it."""
    return any(claim.phase is Phase.PAUSED for claim in claims)


def paused_seconds(claims: Sequence[Claim], since: float, now: float) -> float:
    """For how long it was paused from `since` to `now`, by the commands that are remembered."""
    return max((_paused_seconds(claim, since, now) for claim in claims), default=0.0)


def hold_ends(claim: Claim) -> float:
    """When a pause that stands has lasted for as long as all pauses of one step may (Unix seconds); infinite
    where none does."""
    if claim.paused is None:
        return math.inf
    return claim.paused + LONGEST_HOLD.total_seconds() - _paused_seconds(claim, claim.since, claim.paused)


def too_long(claims: Sequence[Claim], now: float) -> str:
    """That it has been paused for too long, in a sentence; empty where it has not."""
    over = next((claim for claim in claims if claim.phase is Phase.PAUSED and hold_ends(claim) <= now), None)
    if over is None:
        return ""
    longest = format_duration(LONGEST_HOLD.total_seconds())
    return f"It was paused for {longest} by {over.command or 'somebody'}, and nobody resumed it."


def require_resumed(claims: Sequence[Claim], now: float) -> None:
    """Raises HeldTooLong where it has been paused for too long: it goes back then."""
    if words := too_long(claims, now):
        raise HeldTooLong(words)


def is_held(claims: Sequence[Claim]) -> bool:
    """Whether people decide how long the step lasts, so that no deadline ends it."""
    return is_paused(claims) or hurried(claims) is not None


def went_on_at(claims: Sequence[Claim]) -> float:
    """When it last went on after a pause, or a bake was skipped (Unix seconds): deadlines count from then."""
    skip = skipped(claims)
    return max([skip.at if skip else 0.0, *(claim.resumed for claim in claims)])


def effect(claim: Claim, command: Command) -> str:
    """What happens to the traffic now that a command stands on the claim: a sentence, without full stop."""
    if since := _overtaken(claim, command):
        return f"{_keeps(claim)}; since it was given {since}"
    keeps, step = _keeps(claim), f"step {claim.step} of {claim.steps}"
    match command.what:
        case What.PAUSE:
            longest = format_duration(LONGEST_HOLD.total_seconds())
            return (
                f"{keeps} until somebody resumes it, is watched, and an alarm takes it back; after {longest} "
                "it goes back of itself"
            )
        case What.RESUME:
            return f"{keeps} and the rollout goes on from there"
        case What.SKIP_BAKE:
            return f"{keeps}; {step} passes once its judge has seen enough, without baking longer"
        case What.RAISE_NOW:
            follows = (
                "promotion follows" if claim.step == claim.steps else "the raise follows once there is room"
            )
            return f"{keeps}; {step} passes with the next look that is no alarm, and {follows}"
        case What.PROMOTE_NOW:
            return (
                f"{keeps}; this step and all that are left pass, each with its first look that is no alarm, "
                "and are raised as soon as there is room, up to 100 % and promotion"
            )
        case What.ABORT:
            return f"all traffic of {claim.canary} goes back to {claim.stable}, as far as that can carry it"
        case What.UNDO:
            return f"all traffic goes back to {claim.canary}"


def _overtaken(claim: Claim, command: Command) -> str:
    """Why a command that was given some time ago has no effect any more; empty where it has one."""
    if claim.command and claim.command.sequence > command.sequence:
        return f"there was {claim.command.what.value} by {claim.command}"
    if claim.phase is Phase.RETURNING and command.what is not What.ABORT:
        return f"it began to go back to {claim.stable}"
    if command.what in (What.SKIP_BAKE, What.RAISE_NOW) and command.step < claim.step:
        return f"step {command.step} of {claim.steps} passed"
    return ""


def _paused_seconds(claim: Claim, since: float, now: float) -> float:
    total, began = 0.0, None
    for command in claim.commands:
        if command.what is What.PAUSE:
            began = command.at if began is None else began
        elif command.what is What.RESUME and began is not None:
            total += max(0.0, command.at - max(began, since))
            began = None
    return total if claim.paused is None else total + max(0.0, now - max(claim.paused, since))


def _hurry(claims: Sequence[Claim]) -> Command | None:
    """The latest command, if it lets the step pass that stands."""
    command = latest(claims)
    if command is None or command.what not in HURRIES:
        return None
    if any(claim.phase is not Phase.PROGRESSING for claim in claims):
        return None
    stands = command.step == min(claim.step for claim in claims)
    return command if stands or command.what is What.PROMOTE_NOW else None


def _refusal(claim: Claim, command: Command) -> str:
    """Why a command makes no sense, in a sentence; empty where it does."""
    what, paused = command.what, claim.phase is Phase.PAUSED
    if claim.phase is Phase.RETURNING:
        return f"The rollout is on its way back to {claim.stable}, which nothing but its end ends."
    if claim.committed:
        return "Its promotion is decided and is being completed; undo it afterwards."
    if claim.undo and what is not What.ABORT:
        return "It undoes a promotion: guardrails watch it, and nothing else can be had but an abort."
    match what:
        case What.UNDO:
            return "It is not promoted yet, so there is nothing to undo: abort it instead."
        case What.PAUSE if paused and not (claim.command and claim.command.switch):
            return f"It is paused already, by {claim.command or 'somebody'}."
        case What.RESUME if not paused:
            return "It is not paused."
    return _no_hurry(claim, what, paused) if what in HURRIES else ""


def _no_hurry(claim: Claim, what: What, paused: bool) -> str:
    if paused:
        return f"It is paused by {claim.command or 'somebody'}: resume it first."
    if not claim.step:
        return "Its canary has no traffic yet that could be looked at: it is getting ready."
    if permits(claim) and (what is not What.PROMOTE_NOW or claim.step == claim.steps):
        return f"Step {claim.step} has passed already; what comes next waits for room, a window or its task."
    return ""


def _keeps(claim: Claim) -> str:
    return f"{claim.canary} keeps {f'{claim.mirror} % mirrored' if claim.mirror else f'{claim.percent} %'}"
