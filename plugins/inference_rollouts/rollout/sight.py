"""How an observer sees the cluster: by what watches tell, and by reading where that has consequences."""

from __future__ import annotations

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.clients.view import Look
from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.observation import ClusterObservation, observe_cluster


class Sight:
    """What one observer sees of its rollout's routes and pools, in a step since `since` (Unix seconds).

    Nothing is worked out again as long as nothing it was made of has changed. `crashes` are those of the
    canary's pods so far.
    """

    def __init__(self, clients: Clients, frozen: Frozen, since: float) -> None:
        self.afresh = False  # whether what was seen last was read for it
        self.age = 0.0  # of what was seen last, in seconds
        self._clients = clients
        self._frozen = frozen
        self.crashes = Crashes(since)
        self._look: Look | None = None
        self._last: ClusterObservation | None = None

    def observe(self, *, afresh: bool) -> ClusterObservation:
        """The cluster; `afresh`: as it is now, and not as it was some seconds ago.

        Raises ClaimLost or RouteDrift, of a cluster that was read for it; and what the cluster raises.
        """
        view = self._clients.view
        if afresh or view is None:
            return self._read()
        if (known := self.glance()) is not None:
            return known
        self.afresh = False
        look = Look(view)
        try:
            self._last = self._looked_at(look)
        except (ClaimLost, RouteDrift):
            return self._read()
        self._look, self.age = look, round(look.age, 1)
        return self._last

    def glance(self) -> ClusterObservation | None:
        """What was seen last, if nothing of it has changed: nobody is asked. None where that is not known."""
        if self._look is None or not self._look.unchanged:
            return None
        self.afresh, self.age = False, round(self._look.age, 1)
        return self._last

    def _read(self) -> ClusterObservation:
        self.afresh, self.age = True, 0.0
        return self._looked_at(self._clients.cluster)

    def _looked_at(self, cluster: Reader) -> ClusterObservation:
        seen = observe_cluster(cluster, self._frozen, self.crashes)
        self.crashes = seen.crashes
        return seen
