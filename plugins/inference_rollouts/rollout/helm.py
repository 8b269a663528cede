"""What people command a rollout, as whoever observes it sees that, and sees to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.approval import as_commanded
from inference_rollouts.core.routing.claim import Claim, Command, read_claim
from inference_rollouts.core.routing.control import aborted, hurried, is_paused, paused_seconds
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.switch import last_seen, seen_switch


class Helm:
    """The commands on the claims of a rollout; `claims` are as they were last looked at."""

    def __init__(self, cluster: Cluster, frozen: Frozen) -> None:
        self.claims: list[Claim] = []
        self._cluster = cluster
        self._looked_at: Sequence[K8sObject] = ()
        self._control = Control(cluster, frozen.targets, frozen.token)
        self._switch = partial(seen_switch, cluster)

    def look(self, moved: Sequence[K8sObject]) -> None:
        """Look at what moves, and have what is commanded on all of it, by the switch too."""
        claims = [claim for each in moved if (claim := read_claim(each))]
        self.claims, self._looked_at = self._control.obey(claims, self._switch), moved

    def is_calm(self, moved: Sequence[K8sObject]) -> bool:
        """Whether a look at this finds what the last one did, and nobody has to be asked to know that."""
        seen = last_seen(self._cluster)
        if seen is None or moved is not self._looked_at:
            return False
        return self._control.ordered(self.claims, seen.switch) is None

    def commanded(self, judgement: Judgement) -> Judgement:
        """The judgement after what is commanded."""
        return as_commanded(judgement, self.claims)

    def command(self, judgement: Judgement) -> Command | None:
        """The command that made a judgement final; None where the judge itself did."""
        match judgement.verdict:
            case Verdict.ROLLBACK:
                return aborted(self.claims)
            case Verdict.ADVANCE:
                return hurried(self.claims)
        return None

    @property
    def is_paused(self) -> bool:
        """Whether somebody has paused it, and nobody resumed it."""
        return is_paused(self.claims)

    def paused_seconds(self, since: float, now: float) -> float:
        """For how long it was paused between these two times (Unix seconds)."""
        return paused_seconds(self.claims, since, now)
