"""What an observer knows of its rollout's cluster, look after look: route, pools, crashes, and commands."""

from __future__ import annotations

import logging

from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.judging.counters import Exporter
from inference_rollouts.core.judging.guardrails import guardrails
from inference_rollouts.core.judging.policy import StepContext
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.core.run.memory import Memory, read_memory
from inference_rollouts.rollout.helm import Helm
from inference_rollouts.rollout.observation import ClusterObservation
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.sight import Sight
from inference_rollouts.rollout.watching import seen_of

log = logging.getLogger(__name__)


class Lookout:
    """Looks at the cluster in a step; `exporters` are also those that have gone since it began.

    `crashed`: how often the canary's pods did so before, as was known at `known` (Unix seconds), or as the
    step began.
    """

    def __init__(self, run: Run, step: StepContext, crashed: int, known: float | None = None) -> None:
        self.sight = Sight(run.clients, run.frozen, step.started_at if known is None else known)
        self.helm = Helm(run.cluster, run.frozen)
        self.exporters: frozenset[Exporter] = frozenset()
        self._run, self._step = run, step.index
        self._there: frozenset[Exporter] = frozenset()
        self._recalled = False
        self._heard_late = False
        self._limits = run.plan.analysis.guardrails
        self._crashed = crashed

    def look(self, *, afresh: bool) -> ClusterObservation | None:
        """Route and pools; None when the cluster does not answer, or says once what may pass.

        What is commanded is seen to. Raises ClaimLost, also where another step stands, or RouteDrift.
        """
        self._recall()
        try:
            seen = self.sight.observe(afresh=afresh)
            if not self._stands(seen) and not self.sight.afresh:
                seen = self.sight.observe(afresh=True)
            if not self._stands(seen):
                raise ClaimLost(f"Step {self._step} does not stand any more, so who watches it says nothing.")
        except (ClaimLost, RouteDrift):
            raise
        except Exception as error:
            log.warning("nothing is known of the cluster: %s", error)
            return None
        self._there = seen.exporters
        self.exporters |= seen.exporters
        self.helm.look(seen.moved)
        return seen

    def _stands(self, seen: ClusterObservation) -> bool:
        """Whether it is this step that stands. A triggerer that hung may come to when another has let it
        pass; by its counts a canary that has more by now would be one that nothing is known of."""
        return any(claim.step == self._step for each in seen.moved if (claim := read_claim(each)))

    def heard_late(self) -> bool:
        """Whether pods that had gone before we came were heard of only now, after others were counted
        without them; once."""
        late, self._heard_late = self._heard_late, False
        return late

    def memory(self) -> str:
        """What whoever looks at this step after us has to know; empty as long as what is left to us is not
        read: it is kept then."""
        if not self._recalled:
            return ""
        return Memory.of(self.sight.crashes, self.exporters, self._there).model_dump_json()

    def _recall(self) -> None:
        """What whoever looked at this step before us has seen; it is asked for until it is answered."""
        if self._recalled:
            return
        frozen = self._run.frozen
        try:
            left = seen_of(self._run.cluster, frozen.targets, frozen.token)
        except Exception as error:
            log.warning("what was seen of this step before is not known: %s", error)
            return
        self._recalled = True
        since = self.sight.crashes.since
        if memory := next((known for text in left if (known := read_memory(text, since))), None):
            self.sight.crashes = self.sight.crashes.after(memory.crashes)
            self._heard_late = bool(self.exporters) and not self.exporters.issuperset(memory.exporters)
            self.exporters |= frozenset(memory.exporters)

    def glance(self) -> ClusterObservation | None:
        """What was seen last, if a look would find just that, and no alarm. Nobody is asked for it."""
        seen = self.sight.glance() if self._recalled else None
        if seen is None or not self.helm.is_calm(seen.moved) or self.is_alarm(seen):
            return None
        return seen

    def is_alarm(self, seen: ClusterObservation | None) -> bool:
        """Whether what was seen alone is reason to go back."""
        if seen is None:
            return False
        health = seen.health.model_copy(update={"restarts": self.sight.crashes.count})
        return next(guardrails(self._limits, health, self._crashed), None) is not None
