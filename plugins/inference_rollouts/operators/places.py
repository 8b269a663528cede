"""One task that does the same in many clusters and namespaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

P = TypeVar("P")
T = TypeVar("T")


def in_each(places: Sequence[P], act: Callable[[P], T]) -> list[tuple[P, T]]:
    """What came of it in each place. One that does not answer holds up no other. Raises what `act` raises."""
    with ThreadPoolExecutor(max(1, len(places)), "place") as threads:
        asked = [threads.submit(copy_context().run, act, place) for place in places]
    return [(place, each.result()) for place, each in zip(places, asked, strict=True)]
