"""What is seen of a cell from outside: how long nobody watched, how fast an alarm ended, where it went."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from bench.chaos.arena import Arena
from bench.stage import ROUTE
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.routing.claim import Claim, Phase, read_claim
from inference_rollouts.core.routing.watch import lease_name, watch_of
from inference_rollouts.core.routing.weights import target_of

POLL = 0.1


@dataclass
class Sight:
    """Seconds: the longest time in which a canary with traffic was watched by nobody, and from an alarm until
    the route was let go (None: there was none). `offline` are the spans, by our clock, in which the
    Kubernetes API did not answer the pipeline.
    """

    unwatched: float = 0.0
    restoring: float | None = None
    offline: list[tuple[float, float]] = field(default_factory=list)


class Seer:
    """Looks at route and lease all the time, from its own connection."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.sight = Sight()
        self.claim: Claim | None = None
        self.claimed = False
        self._seen: float | None = None  # when somebody last watched
        self._lease: float | None = None
        self._alarmed: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="seer", daemon=True)

    def __enter__(self) -> Seer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=60)

    def _look(self) -> None:
        while not self._end.wait(POLL):
            try:
                self._observe()
            except Exception:
                self._offline(time.time() - POLL, time.time())

    def _observe(self) -> None:
        before = time.time()
        route = self.arena.stage.cluster.get(*ROUTE)
        now = time.time()
        if now - before > 1.0:
            self._offline(before, now)
        self.claim = claim = read_claim(route)
        self.claimed = self.claimed or claim is not None
        self._time_the_way_back(claim, now)
        if claim is None or not max(claim.percent, claim.mirror) or claim.phase is Phase.RETURNING:
            self._seen = None
            return
        lease = watch_of(self.arena.stage.cluster.find(LEASE_API, "Lease", lease_name(target_of(route))))
        renewed = lease.renewed if lease else None
        if renewed != self._lease or self._seen is None:
            self._lease, self._seen = renewed, now
        self.sight.unwatched = max(self.sight.unwatched, now - self._seen - self._blind(self._seen, now))

    def _time_the_way_back(self, claim: Claim | None, now: float) -> None:
        if claim and claim.phase is Phase.RETURNING and self._alarmed is None:
            self._alarmed = now
        if claim is None and self._alarmed is not None and self.sight.restoring is None:
            self.sight.restoring = now - self._alarmed

    def _blind(self, start: float, end: float) -> float:
        """Seconds of a span in which the Kubernetes API did not answer."""
        return sum(max(0.0, min(end, e) - max(start, s)) for s, e in self.sight.offline)

    def _offline(self, start: float, end: float) -> None:
        self.sight.offline.append((start, end))

    def offline(self, start: float, end: float) -> None:
        """The pipeline was cut off for so long, whatever we could see."""
        self._offline(start, end)
