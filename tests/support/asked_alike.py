"""A metrics store in memory, that answers alike however it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class AskedAlike(ABC):
    """Of one who knows what to answer at one time."""

    @abstractmethod
    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """As of Prometheus."""

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        """As of Prometheus."""
        return [self.query(promql, each) for each in at]

    async def aquery(self, promql: str, at: float, line: object) -> list[dict[str, Any]]:
        """As of Prometheus."""
        return self.query(promql, at)
