"""Reading, deciding and patching one object: the only way in which a rollout writes to what it moves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import NotFound, PatchRefused, RolloutError
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target

log = logging.getLogger(__name__)

Decide = Callable[[K8sObject], Patch]
"""What to write, given what was read; nothing when it is done already."""


@dataclass(frozen=True, slots=True)
class Written:
    """An object after a write, and whether there was one; `answered`: it is what that very write made of it.

    Where the answer was lost it was read later, and others may have written since.
    """

    obj: K8sObject
    wrote: bool
    answered: bool = False


@dataclass(slots=True)
class Writer:
    """Writes, and tells of it afterwards: Events wait in `told` until `tell_all`, lest one is in the way."""

    cluster: Cluster
    told: list[tuple[K8sObject, str, str, bool]] = field(default_factory=list)

    def write(self, target: Target, decide: Decide) -> Written:
        """Read, decide, patch; on a lost race again.

        When the answer to a patch is lost, the object is read back: if there is nothing left to write, it was
        written. Raises what `decide` raises, NotFound, and what the cluster raises.
        """
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            obj = self.read(target)
            if not (patch := decide(obj)):
                return Written(obj, wrote=False)
            try:
                obj = self.cluster.patch(target.api, target.kind, target.name, patch)
                return Written(obj, wrote=True, answered=True)
            except PatchRefused:
                if attempt == WRITE_ATTEMPTS:
                    raise
            except RolloutError:
                raise
            except Exception as error:
                return self._read_back(target, decide, error)
        raise AssertionError("unreachable")

    def read(self, target: Target) -> K8sObject:
        """An object as it is now; raises NotFound."""
        return self.cluster.get(target.api, target.kind, target.name)

    def find(self, target: Target) -> K8sObject | None:
        """An object as it is now; None when it is gone."""
        try:
            return self.read(target)
        except NotFound:
            return None

    def tell(self, obj: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        """Remember an Event about an object."""
        self.told.append((obj, reason, message, warning))

    def tell_all(self) -> None:
        """Write the Events that were remembered; each is best effort."""
        told, self.told = self.told, []
        for obj, reason, message, warning in told:
            self.cluster.event(obj, reason, message, warning=warning)

    def _read_back(self, target: Target, decide: Decide, error: Exception) -> Written:
        log.warning("the answer to a patch of %s was lost, reading it back: %s", target, error)
        obj = self.read(target)
        if decide(obj):
            raise error
        return Written(obj, wrote=True)
