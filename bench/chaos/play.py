"""Playing one cell: a rollout is brought to the moment, the fault strikes, and the end is awaited."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench.chaos.arena import CANARY, CLIENTS, NOBODY, PATIENCE, RESTART, STABLE, Arena
from bench.chaos.cells import Cell, End
from bench.chaos.faults import Struck
from bench.chaos.moments import scale_picker
from bench.chaos.watching import Seer
from bench.stage import until
from inference_rollouts.core.reporting.approval import GO_ON
from inference_rollouts.core.routing.claim import read_ending
from lab.airflow.client import TERMINAL, AirflowError

LONGEST_UNWATCHED = 60.0  # seconds that a canary with traffic may be watched by nobody
SHOWN = 5  # lost requests that are shown in full
STORM = 0.8  # of a bad canary's answers
QUIET = 5  # seconds without a claim after which none is expected any more
EXPLAINED = CLIENTS * (RESTART + 2.0)  # failures of clients while what died was away and came back


@dataclass(frozen=True, slots=True)
class Result:
    """How a cell went. `end` is where the traffic is; `wrong` says, in words, what should be otherwise.

    `guardian`: it was the guardian that ended it.
    """

    cell: Cell
    end: str
    seconds: float
    unwatched: float
    restoring: float | None
    lost: dict[str, int]
    events: tuple[str, ...]
    guardian: bool
    wrong: tuple[str, ...]


def play(arena: Arena, cell: Cell) -> Result:
    """Play a cell in an arena as in the beginning."""
    began, found = time.time(), arena.stage.route()["spec"]
    run = arena.start(cell.plan)
    struck = Struck(arena, cell.plan, run)
    with Seer(arena) as seer:
        _reach(arena, cell, seer)
        with _offline(cell, seer):
            cell.fault.strike(struck)
        if cell.moment.prepare:
            scale_picker(arena, 1)
        ended = _await_end(seer, struck, cell)
    end = _end(arena, found) if ended else f"left at {arena.stage.weights()}"
    return _judged(arena, cell, seer, end, time.time() - began)


def _reach(arena: Arena, cell: Cell, seer: Seer) -> None:
    """Return at the cell's moment."""
    prepared = broken = False

    def reached() -> bool:
        nonlocal prepared, broken
        claim = seer.claim
        if cell.moment.bad and not broken and claim and claim.step == 1:
            arena.stage.fault(CANARY, http_500=STORM)
            broken = True
        if cell.moment.prepare and not prepared and cell.moment.reached(arena, claim):
            cell.moment.prepare(arena)
            prepared = True
        return cell.moment.reached(arena, claim)

    until(reached, f"the moment {cell.moment.name}", PATIENCE, poll=0.05)


@contextmanager
def _offline(cell: Cell, seer: Seer) -> Iterator[None]:
    """While the fault lasts nobody could watch, if the Kubernetes API does not answer."""
    began = time.time()
    if cell.fault.offline:
        seer.offline(began, math.inf)
    yield
    if cell.fault.offline:
        seer.sight.offline[seer.sight.offline.index((began, math.inf))] = (began, time.time())


def _answer(struck: Struck) -> None:
    """As a person does, who is asked again where the task died with the first answer."""
    with suppress(AirflowError):
        struck.arena.airflow.client().answer(struck.dag, struck.run, "step_1.ask", GO_ON)


def _await_end(seer: Seer, struck: Struck, cell: Cell) -> bool:
    """Until no claim is left, and none can come: the run has ended, or nobody goes on with it.

    False where the rollout is still at work when it should have ended long ago.
    """
    quiet, patience = 0, PATIENCE if struck.arena.guarded or not cell.fault.lasting else NOBODY

    def ended() -> bool:
        nonlocal quiet
        if cell.moment.asks and not cell.fault.lasting:
            _answer(struck)
        over = seer.claim is None and (cell.fault.lasting or _has_ended(struck))
        quiet = quiet + 1 if over else 0
        return quiet >= (QUIET if seer.claimed else 3 * QUIET)

    with suppress(AssertionError):
        until(ended, "the end", patience, poll=1.0)
        return True
    return False


def _has_ended(struck: Struck) -> bool:
    try:
        return bool(struck.arena.airflow.client().run(struck.dag, struck.run)["state"] in TERMINAL)
    except AirflowError:
        return False


def _end(arena: Arena, found: object) -> str:
    route = arena.stage.route()["spec"]
    if route == found:
        return End.AS_FOUND
    if arena.stage.weights() == {STABLE: 0, CANARY: 100}:
        return End.PROMOTED
    return f"astray: {arena.stage.weights()}"


def _why(arena: Arena) -> str:
    """What was left on the route by whoever let it go."""
    last = read_ending(arena.stage.route())
    return last.why if last else ""


def _judged(arena: Arena, cell: Cell, seer: Seer, end: str, seconds: float) -> Result:
    sight, lost = seer.sight, arena.lab.lost
    wrong = []
    if end != cell.end:
        wrong.append(f"it should have ended {cell.end}")
    if sight.unwatched > LONGEST_UNWATCHED:
        wrong.append(f"nobody watched for {sight.unwatched:.0f} s")
    explained = EXPLAINED if cell.fault.loses or cell.moment.prepare else 0
    if not cell.moment.bad and sum(lost.values()) > explained:
        requests = "; ".join(arena.lab.losses[:SHOWN])
        wrong.append(f"clients lost {sum(lost.values())} requests: {lost}: {requests}")
    return Result(
        cell=cell,
        end=end,
        seconds=seconds,
        unwatched=sight.unwatched,
        restoring=sight.restoring,
        lost=lost,
        events=tuple(arena.lab.events),
        guardian="(guardian" in _why(arena),
        wrong=tuple(wrong),
    )
