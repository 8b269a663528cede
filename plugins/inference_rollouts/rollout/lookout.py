"""What an observer knows of its rollout's cluster, look after look: route, pools, crashes, and commands."""

from __future__ import annotations

import logging

from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.judging.counters import Exporter
from inference_rollouts.core.judging.guardrails import guardrails
from inference_rollouts.core.judging.policy import StepContext
from inference_rollouts.rollout.helm import Helm
from inference_rollouts.rollout.observation import ClusterObservation
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.sight import Sight

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
        self._limits = run.plan.analysis.guardrails
        self._crashed = crashed

    def look(self, *, afresh: bool) -> ClusterObservation | None:
        """Route and pools; None when the cluster does not answer, or says once what may pass.

        What is commanded is seen to. Raises ClaimLost or RouteDrift.
        """
        try:
            seen = self.sight.observe(afresh=afresh)
        except (ClaimLost, RouteDrift):
            raise
        except Exception as error:
            log.warning("nothing is known of the cluster: %s", error)
            return None
        self.exporters |= seen.exporters
        self.helm.look(seen.moved)
        return seen

    def glance(self) -> ClusterObservation | None:
        """What was seen last, if a look would find just that, and no alarm. Nobody is asked for it."""
        seen = self.sight.glance()
        if seen is None or not self.helm.is_calm(seen.moved) or self.is_alarm(seen):
            return None
        return seen

    def is_alarm(self, seen: ClusterObservation | None) -> bool:
        """Whether what was seen alone is reason to go back."""
        if seen is None:
            return False
        health = seen.health.model_copy(update={"restarts": self.sight.crashes.count})
        return next(guardrails(self._limits, health, self._crashed), None) is not None
