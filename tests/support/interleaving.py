"""Several tasks at once: one call to the cluster at a time, in an order that is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence


class _Task(threading.Thread):
    def __init__(self, act: Callable[[], object], back: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self.act, self.back = act, back
        self.turn = threading.Semaphore(0)
        self.done = False
        self.error: BaseException | None = None

    def run(self) -> None:
        self.turn.acquire()
        try:
            self.act()
        except BaseException as error:
            self.error = error
        self.done = True
        self.back.release()


class Interleaving:
    """Tasks that take turns: whose is next says `order`; when that is over, they end one after the other."""

    def __init__(self, acts: Sequence[Callable[[], object]], order: Iterable[int]) -> None:
        self._back = threading.Semaphore(0)
        self._tasks = [_Task(act, self._back) for act in acts]
        self._order = iter(order)

    def run(self) -> None:
        """All tasks to their ends; raises what one of them raised."""
        for task in self._tasks:
            task.start()
        while waiting := [task for task in self._tasks if not task.done]:
            waiting[next(self._order, 0) % len(waiting)].turn.release()
            self._back.acquire()
        for task in self._tasks:
            task.join()
            if task.error is not None:
                raise task.error

    def pause(self) -> None:
        """Of a task: let others go on, and return when it is its turn again."""
        task = threading.current_thread()
        if isinstance(task, _Task):
            self._back.release()
            task.turn.acquire()
