"""What clusters answered, kept for a moment. Nothing of it raises: what does not answer is left out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from inference_rollouts.console.cluster import Claims, Place, Surroundings, place_of
from inference_rollouts.console.kept import FRESH, SLOW, Kept
from inference_rollouts.console.protocols import World
from inference_rollouts.core.errors import PassingError, RolloutError
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.undo import Aftermath

log = logging.getLogger(__name__)


class Known:
    """What is known of the clusters of a world."""

    def __init__(self, world: World, patience: float) -> None:
        self._world = world
        self._claims: Kept[Claims] = Kept(FRESH, patience=patience, waits=patience)
        self._around: Kept[Surroundings] = Kept(SLOW, patience=patience)
        self._after: Kept[Aftermath] = Kept(SLOW, patience=patience)

    def claims(self, place: Place) -> Claims | None:
        """What is claimed there; None where nobody knows."""
        try:
            return self._claims.get(place, partial(self._world.claims, place))
        except Exception as error:
            log.debug("nothing is known of the claims in namespace %s: %s", place[1], error)
            return None

    def begin(self, places: Iterable[Place]) -> None:
        """Ask all of them at once: who wants the claims of each then waits as for one."""
        for place in places:
            self._claims.begin(place, partial(self._world.claims, place))

    def forget(self, place: Place) -> None:
        """Somebody changed what is claimed there."""
        self._claims.forget(place)

    def claims_of(self, seen: SeenRun, frozen: Frozen) -> Sequence[Claim]:
        """The claims of a run; none where it holds none, or nobody knows."""
        claims = None if seen.is_over else self.claims(place_of(frozen.plan))
        return claims.claims.get(frozen.token, ()) if claims else ()

    def surroundings(self, seen: SeenRun, frozen: Frozen) -> tuple[Surroundings | None, str]:
        """Pods and Events, or why they are not known."""
        if seen.is_over:
            return None, "The rollout is over."
        try:
            return self._around.get(frozen.token, lambda: self._world.surroundings(frozen)), ""
        except TimeoutError:
            return None, "The cluster has not answered yet."
        except (RolloutError, PassingError) as error:
            return None, str(error)

    def pods(self, seen: SeenRun, frozen: Frozen) -> frozenset[str] | None:
        """The names of the pods of both arms; None where nobody knows."""
        around, _ = self.surroundings(seen, frozen)
        return frozenset(pod.name for pod in (*around.canary, *around.stable)) if around else None

    def aftermath(self, seen: SeenRun, frozen: Frozen) -> Aftermath:
        """What can become of a promotion; nothing where there was none, or the cluster does not answer."""
        if seen.left("report", "outcome") != Outcome.PROMOTED:
            return Aftermath()
        try:
            return self._after.get(frozen.token, lambda: self._world.aftermath(frozen))
        except (RolloutError, PassingError, TimeoutError) as error:
            log.info("nobody knows whether the promotion by %s can be undone: %s", seen.run, error)
            return Aftermath()
