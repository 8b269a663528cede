"""Whether who observes a step knows enough of it for its deadline to end it."""

from __future__ import annotations


class FirstWord:
    """Of the cluster and of the metrics store, to somebody who has begun to observe a step.

    The step may be old, and its deadline over: that nothing was seen says nothing before anybody could look.
    What keeps silent for `patience` seconds is silent.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._until: float | None = None
        self._cluster = self._store = False

    def is_awaited(self, now: float, *, cluster: bool, store: bool) -> bool:
        """Whether there is still time for it at `now` (Unix seconds), who of them has spoken by then."""
        if self._until is None:
            self._until = now + self._patience
        self._cluster, self._store = self._cluster or cluster, self._store or store
        return now < self._until and not (self._cluster and self._store)
