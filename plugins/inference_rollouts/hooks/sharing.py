"""What all triggers of a process share that watch by the same connections: clients, views, threads.

It is made with the first and closed with the last. Who watches alone has it for itself.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from inference_rollouts.clients import Clients
from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.core.limits import OBSERVING_AT_ONCE, STORE_AT_ONCE
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.step_observer import StepObserver

T = TypeVar("T")


@dataclass(slots=True)
class Shared:
    """Of one cluster and one metrics store: `asking` are threads for the store, `observing` for all else.

    What is slow there delays those who watch there, and nobody else.
    """

    asking: Executor = field(default_factory=lambda: ThreadPoolExecutor(STORE_AT_ONCE, "store"))
    observing: Executor = field(default_factory=lambda: ThreadPoolExecutor(OBSERVING_AT_ONCE, "observing"))
    clients: dict[str, Clients] = field(default_factory=dict)  # by namespace
    users: dict[str, int] = field(default_factory=dict)  # the same

    async def observe(self, observer: StepObserver, now: float) -> Judgement:
        """One observation at `now` (Unix time). Raises as `StepObserver.observe`."""
        begun = await self.run(lambda: observer.begin(now))
        for asked in observer.asked(begun):
            await asyncio.wait([asyncio.wrap_future(asked)], timeout=max(0.0, begun.until - time.monotonic()))
        return await self.run(lambda: observer.conclude(begun))

    async def run(self, act: Callable[[], T]) -> T:
        """What `act` returns, or raises, in a thread, in the context of who asks."""
        return await asyncio.get_running_loop().run_in_executor(self.observing, copy_context().run, act)

    def run_of(self, frozen: Frozen) -> Run:
        """A run with the clients that are shared."""
        return Run(frozen, self.clients[frozen.plan.namespace], kind_of(frozen.plan))

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        for threads in (self.asking, self.observing):
            threads.shutdown(wait=False)


_all: dict[Connections, Shared] = {}
_lock = threading.Lock()


@contextmanager
def sharing(frozen: Frozen) -> Iterator[Shared]:
    """What is shared by all who watch there."""
    connections, namespace = frozen.plan.connections, frozen.plan.namespace
    with _lock:
        shared = _all.setdefault(connections, Shared())
        if namespace not in shared.clients:
            shared.clients[namespace] = clients_at(connections, namespace)
        shared.users[namespace] = shared.users.get(namespace, 0) + 1
    try:
        yield shared
    finally:
        with _lock:
            shared.users[namespace] -= 1
            if not shared.users[namespace]:
                del shared.users[namespace]
                if view := shared.clients.pop(namespace).view:
                    view.close()
            if not shared.users:
                del _all[connections]
                shared.close()
