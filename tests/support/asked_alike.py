"""A metrics store in memory, that answers alike however it is asked."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any


class AskedAlike(ABC):
    """Of one who knows what to answer at one time. `remarks` are on whatever it was asked."""

    remarks: tuple[str, ...] = ()
    clock = staticmethod(time.time)

    @abstractmethod
    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """As of Prometheus."""

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        """As of Prometheus."""
        return [self.query(promql, each) for each in at]

    def time(self) -> float:
        """As of Prometheus."""
        return float(self.clock())

    def remarks_on(self, asked: Iterable[str]) -> tuple[str, ...]:
        """As of Prometheus."""
        return self.remarks

    async def aquery(self, promql: str, at: float, line: object) -> list[dict[str, Any]]:
        """As of Prometheus."""
        return self.query(promql, at)
