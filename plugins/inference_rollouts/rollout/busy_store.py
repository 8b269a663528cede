"""A metrics store that is asked again where it cannot answer now: for those who ask once, as preflight does.

Who asks again and again anyway does not wait: nothing is known meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_rollouts.clients import Clients
from inference_rollouts.clients.line import Line
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.limits import BUSY_STORE
from inference_rollouts.rollout.retrying import Seconds, Sleep, for_seconds


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A Prometheus whose queries are tried again while it is busy, as late as it wants, for BUSY_STORE."""

    store: Prometheus
    now: Seconds = time.monotonic
    sleep: Sleep = time.sleep

    def query(self, promql: str, at: float) -> Sequence[dict[str, Any]]:
        """As of Prometheus."""
        found: Sequence[dict[str, Any]] = self._patiently(self.store.query, promql, at)
        return found

    async def aquery(self, promql: str, at: float, line: Line) -> Sequence[dict[str, Any]]:
        """As of Prometheus, asked once: who asks so asks again and again."""
        return await self.store.aquery(promql, at, line)

    def query_range(self, promql: str, at: Sequence[float]) -> Sequence[Sequence[dict[str, Any]]]:
        """As of Prometheus."""
        found: Sequence[Sequence[dict[str, Any]]] = self._patiently(self.store.query_range, promql, at)
        return found

    def time(self) -> float:
        """As of Prometheus."""
        return self.store.time()

    def remarks_on(self, asked: Iterable[str]) -> tuple[str, ...]:
        """As of Prometheus."""
        return self.store.remarks_on(asked)

    def _patiently(self, ask: Any, *what: Any) -> Any:
        return for_seconds(BUSY_STORE, now=self.now, sleep=self.sleep)(ask, *what)


def patient(clients: Clients) -> Clients:
    """The same, for one who asks the metrics store once."""
    return replace(clients, prometheus=AskedAgain(clients.prometheus))
