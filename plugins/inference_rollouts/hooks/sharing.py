"""What triggers of an event loop share that watch, or wait, by the same connections: clients, views, threads.

It is made with the first and closed with the last. Who watches alone has it for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from inference_rollouts.clients import Clients
from inference_rollouts.clients.line import Line
from inference_rollouts.core.limits import OBSERVING_AT_ONCE, SPARE_PACE, SPARE_TICKS, STORE_AT_ONCE
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.spare import Spare

if TYPE_CHECKING:
    from inference_rollouts.core.judging.judge import Carried, Judgement, StepContext
    from inference_rollouts.rollout.step_observer import Begun, StepObserver

    _Judging = tuple[StepObserver, Begun, asyncio.Future[Judgement]]

T = TypeVar("T")

log = logging.getLogger(__name__)

BUSY = 0.05  # seconds for which the loop may do nothing but judge; Airflow complains from 0.2 on
AT_ONCE = 10  # observations at most that are judged in them; more together are hardly quicker
JUDGED_WITHIN = 0.25  # seconds, or a 20th of an interval, for which so many are waited for


@dataclass(slots=True)
class Shared:
    """Of one cluster and one metrics store: `asking` are threads for the store, `finishing` for acting on
    final judgements, which may be tried for minutes, `waiting` for looking at what is waited for, which asks
    others too, and `observing` for all else.

    What is slow there delays those who watch there, and nobody else. By the `line` the store is asked for the
    newest counts, which costs no thread.
    """

    asking: Executor = field(default_factory=lambda: ThreadPoolExecutor(STORE_AT_ONCE, "store"))
    observing: Executor = field(default_factory=lambda: ThreadPoolExecutor(OBSERVING_AT_ONCE, "observing"))
    finishing: Executor = field(default_factory=lambda: ThreadPoolExecutor(OBSERVING_AT_ONCE, "finishing"))
    waiting: Executor = field(default_factory=lambda: ThreadPoolExecutor(OBSERVING_AT_ONCE, "waiting"))
    line: Line = field(init=False)
    spare: Spare = field(default_factory=lambda: Spare(SPARE_TICKS, SPARE_PACE))
    clients: dict[str, Clients] = field(default_factory=dict)  # by namespace
    users: dict[str, int] = field(default_factory=dict)  # the same
    timed: set[str] = field(default_factory=set)  # those of them whose API server has said what time it is
    judging: list[_Judging] = field(default_factory=list)
    at_once: int = AT_ONCE  # of them, by what the last ones took
    due: asyncio.Handle | None = None  # when they are judged

    def __post_init__(self) -> None:
        self.line = Line(self.asking)

    def observer(
        self,
        frozen: Frozen,
        context: StepContext,
        carried: Carried,
        *,
        asks: bool = False,
        known: float | None = None,
    ) -> StepObserver:
        """One who shares all this."""
        # Imported on use: who only waits for something starts without numpy.
        from inference_rollouts.rollout.step_observer import StepObserver

        run = self.run_of(frozen)
        return StepObserver(run, context, carried, self.asking, self.line, self.spare, asks=asks, known=known)

    async def time(self, frozen: Frozen) -> float:
        """What time it is (Unix seconds) by the clock that all who work on a rollout have in common: that of
        the API server, which is asked first. Our own where it does not answer."""
        run, namespace = self.run_of(frozen), frozen.plan.namespace
        if namespace not in self.timed and await self.look(lambda: _has_answered(run)):
            self.timed.add(namespace)
        return run.cluster.time()

    async def observe(self, observer: StepObserver, now: float) -> Judgement:
        """One observation at `now` (Unix time). Raises as `StepObserver.observe`."""
        if (begun := observer.glance(now)) is None:
            begun = await self.run(lambda: observer.begin(now))
        for asked in observer.asked(begun):
            await asyncio.wait([asyncio.wrap_future(asked)], timeout=max(0.0, begun.until - time.monotonic()))
        judgement = await self._judged(observer, begun)
        if observer.is_concluded(begun, judgement):
            return judgement
        return await self.run(lambda: observer.conclude(begun, judgement))

    async def _judged(self, observer: StepObserver, begun: Begun) -> Judgement:
        """Together with what others have got within a moment; what alarms waits for nobody."""
        if begun.alarmed or observer.catches_up:
            return await self.run(lambda: observer.judge_alone(begun))
        loop = asyncio.get_running_loop()
        self.judging.append((observer, begun, judged := loop.create_future()))
        if len(self.judging) >= self.at_once:
            self._judge_some()
        elif self.due is None:
            patience = min(JUDGED_WITHIN, observer.run.plan.analysis.interval / 20)
            self.due = loop.call_later(patience, self._judge_some)
        judgement: Judgement = await judged
        return judgement

    def _judge_some(self) -> None:
        """As many as fit; the others when the loop has seen to all else."""
        if self.due:
            self.due.cancel()
            self.due = None
        now, self.judging = self.judging[: self.at_once], self.judging[self.at_once :]
        began = time.perf_counter()
        _judge(now)
        self.at_once = fitting(len(now), time.perf_counter() - began)
        if self.judging:
            self.due = asyncio.get_running_loop().call_soon(self._judge_some)

    async def finish(self, observer: StepObserver, judgement: Judgement, name: str) -> dict[str, Any]:
        """As `StepObserver.finish`, in threads for that alone: neither they nor who observes wait for others
        that are tried again."""
        return await _in(self.finishing, lambda: observer.finish(judgement, name))

    async def run(self, act: Callable[[], T]) -> T:
        """What `act` returns, or raises, in a thread, in the context of who asks."""
        return await _in(self.observing, act)

    async def look(self, act: Callable[[], T]) -> T:
        """As `run`, in threads for who waits: those who observe wait for none of them."""
        return await _in(self.waiting, act)

    def run_of(self, frozen: Frozen) -> Run:
        """A run with the clients that are shared."""
        return Run(frozen, self.clients[frozen.plan.namespace], kind_of(frozen.plan))

    async def close(self) -> None:
        """End the line, and the threads once they have nothing to do. Nobody waits to be judged any more."""
        if self.due:
            self.due.cancel()
        await self.line.close()
        for threads in (self.asking, self.observing, self.finishing, self.waiting):
            threads.shutdown(wait=False)


def _has_answered(run: Run) -> bool:
    """Whether the API server does, so that its clock is known."""
    target = run.frozen.targets[0]
    try:
        run.cluster.find(target.api, target.kind, target.name)
    except Exception as error:
        log.warning("what time it is by the API server's clock is not known: %s", error)
        return False
    return True


async def _in(threads: Executor, act: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, act)


def fitting(count: int, seconds: float) -> int:
    """How many are to be judged at once, as so many took so long: pools of a hundred pods take their time."""
    return max(1, min(AT_ONCE, int(BUSY * count / max(seconds, 1e-6))))


def _judge(judging: Sequence[_Judging]) -> None:
    """In one go; nobody is asked for it."""
    from inference_rollouts.rollout.together import judge_all

    outcomes = judge_all([(observer, begun) for observer, begun, _ in judging])
    for (_, _, judged), each in zip(judging, outcomes, strict=True):
        if judged.done():
            continue
        if isinstance(each, Exception):
            judged.set_exception(each)
        else:
            judged.set_result(each)


_Key = tuple[asyncio.AbstractEventLoop, Connections]

_all: dict[_Key, Shared] = {}


@asynccontextmanager
async def sharing(plan: Plan) -> AsyncIterator[Shared]:
    """What is shared by all who watch or wait where a plan is, in the event loop that runs."""
    connections, namespace = plan.connections, plan.namespace
    key = asyncio.get_running_loop(), connections
    if key not in _all:
        _all[key] = Shared()
    shared = _all[key]
    if namespace not in shared.clients:
        shared.clients[namespace] = clients_at(connections, namespace)
    shared.users[namespace] = shared.users.get(namespace, 0) + 1
    try:
        yield shared
    finally:
        shared.users[namespace] -= 1
        if not shared.users[namespace]:
            del shared.users[namespace]
            shared.timed.discard(namespace)
            if view := shared.clients.pop(namespace).view:
                view.close()
        if not shared.users:
            del _all[key]
            await shared.close()
