"""A step's counters, asked of the metrics store beside everything else: a slow one holds nothing up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

from inference_rollouts.clients.line import Line
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.counters import Exporter
from inference_rollouts.core.judging.counts import Grid, Snapshot
from inference_rollouts.core.judging.ledger import SETTLED
from inference_rollouts.core.judging.policy import STORM_WINDOWS, StepContext
from inference_rollouts.core.judging.queries import Query
from inference_rollouts.core.limits import CATCH_UP, LATE, SPARE_PACE, SPARE_TICKS
from inference_rollouts.core.run.guard import storm_watch_of
from inference_rollouts.rollout.beside import Beside
from inference_rollouts.rollout.observation import (
    aanswers,
    answers,
    beside,
    exporters_of,
    in_order,
    queries_of,
    snapshots,
    storm_between,
)
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.spare import Spare

log = logging.getLogger(__name__)

FEW = SETTLED + 1  # ticks by which all that happened before somebody came is counted


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store said: counters at ticks that had passed, and of a storm before the first tick.

    `answers`: False when it did not. One that is still being asked answers nothing yet.
    """

    answers: bool = True
    snapshots: tuple[Snapshot, ...] = ()
    storm: str = ""


class Counting:
    """Asks for what has passed, beside everything else: in `threads`, or by a `line` where there is one.

    What was missed is asked for as far as there is `spare`, of its own where others share none with it.
    `wanted`: as of `Counters`, beside the ticks.
    """

    def __init__(
        self,
        run: Run,
        step: StepContext,
        threads: Executor,
        line: Line | None = None,
        spare: Spare | None = None,
        wanted: Callable[[float, float], Mapping[str, Sequence[float]]] = lambda first, until: {},
    ) -> None:
        policy = run.plan.analysis
        self.grid = Grid(step.anchor, policy.interval, policy.scrape_delay)
        self.notes: tuple[str, ...] = ()  # what is to be said of the latest answers
        self.ticks = 0  # of the grid that were asked for last
        self.done = 0  # ticks of the grid that need not be asked for any more
        self.heard = False  # whether an answer ever came in the observation that asked for it
        self._late = False  # whether what is being asked was asked by an observation before
        self._run = run
        self._since = step.started_at
        self._storms = storm_watch_of(run.frozen)
        self._queries = queries_of(run.frozen)
        self._line = line
        self._spare = spare or Spare(SPARE_TICKS, SPARE_PACE)
        self._wanted = wanted
        self._beside = Beside(Answer(), threads)

    @property
    def asked(self) -> Future[Answer] | None:
        """What is still being asked, or was answered and not taken yet."""
        return self._beside.asked

    @property
    def answers(self) -> bool:
        """Whether the store has answered what it was asked last."""
        asked = self._beside.asked
        if asked is None:
            return self._beside.last.answers
        return asked.done() and not asked.exception() and asked.result().answers

    def ask(self, now: float) -> None:
        """Begin to ask for what has passed by `now`, unless something is still being asked for."""
        self._late = self._beside.asked is not None
        if not self._late:
            self.done = min(self.done, self.grid.passed(now))  # a clock that was ahead has said less by now
            due = self._due(now)
            self.ticks, more = len(due), self._more(due)
            if self._line and 0 < len(due) <= FEW and not more:
                self._beside.expect(self._line.begin(partial(self._aanswer, self._line, now, due)))
            else:
                self._beside.ask(partial(self._answer, now, due, more))

    def answer(self, until: float) -> Answer:
        """What was asked for; what has not come by `until` (of `time.monotonic`) is as it was before."""
        taken = self._beside.answer(until)
        self.heard = self.heard or (taken is not None and taken.answers and not self._late)
        answer = taken or Answer(self._beside.last.answers)
        self._beside.last = Answer(answer.answers)  # it is taken, and large
        return answer

    def _due(self, now: float) -> list[float]:
        """The ticks to ask for.

        After a failure the fewest, mostly the newest alone: a store that is slow is not asked for more than
        it can give. Nor is a process that comes late made later by what it has missed.
        """
        missed, enough = self.grid.passed(now) - self.done, LATE if self.done else FEW
        if missed > enough and self._beside.last.answers and self._spare.take(min(missed, CATCH_UP)):
            return self.grid.missed(self.done, now, CATCH_UP)
        return self.grid.fewest(self.done, now)

    def _more(self, due: Sequence[float]) -> list[tuple[Query, list[float]]]:
        """The queries that are to be asked at other times too, with these."""
        return beside(self._queries, due, self._wanted(self.grid.anchor, due[-1])) if due else []

    def _answer(
        self, now: float, due: Sequence[float], more: Sequence[tuple[Query, list[float]]] = ()
    ) -> Answer:
        prometheus = self._run.clients.prometheus
        try:
            if not due:
                return Answer(storm="" if self.done else self._storm(now))
            if len(due) <= FEW:  # unevenly, as a range cannot be
                seen = [answers(prometheus, self._queries, tick) for tick in due]
            else:
                seen = snapshots(prometheus, self._queries, due)
            seen = in_order(seen, *(snapshots(prometheus, [query], times) for query, times in more))
        except PrometheusUnavailable as error:
            return _none(error)
        return self._answered(now, seen)

    async def _aanswer(self, line: Line, now: float, due: Sequence[float]) -> Answer:
        prometheus = self._run.clients.prometheus
        try:
            seen = [await aanswers(prometheus, line, self._queries, tick) for tick in due]
        except PrometheusUnavailable as error:
            return _none(error)
        return self._answered(now, seen)

    def _answered(self, now: float, seen: Sequence[Snapshot]) -> Answer:
        remarks_on = self._run.clients.prometheus.remarks_on
        self.done, self.notes = self.grid.passed(now), remarks_on(each.promql for each in self._queries)
        return Answer(snapshots=tuple(seen))

    def _storm(self, now: float) -> str:
        """A storm before the first tick: nothing is counted then, and a canary that fails has traffic."""
        end = now - self.grid.delay
        start = end - STORM_WINDOWS * self.grid.interval
        if start < self._since:
            return ""
        clients, frozen = self._run.clients, self._run.frozen
        own = partial(_known, partial(exporters_of, clients.reader, frozen))
        return storm_between(clients.prometheus, self._storms, start, end, own)


def _known(find: Callable[[], frozenset[Exporter]]) -> frozenset[Exporter]:
    """None where the cluster does not answer: then nobody knows whose storm it is, and it is ours."""
    try:
        return find()
    except Exception as error:
        log.warning("nothing is known of the pods: %s", error)
        return frozenset()


def _none(error: PrometheusUnavailable) -> Answer:
    log.warning("%s", error)
    return Answer(answers=False)
