"""One run with all it needs, and what the kinds of rollouts do differently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.judging.policy import Health, Step, StepContext
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.core.routing.claim import Floor, Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.rollout.capacity import InFlight
from inference_rollouts.rollout.confirmation import confirmation
from inference_rollouts.rollout.floors import raise_floors, settle_floors
from inference_rollouts.rollout.pods import Server
from inference_rollouts.rollout.retirement import Subject
from inference_rollouts.rollout.traffic import Traffic
from inference_rollouts.rollout.versions import settle_version

ReconcilePods = Callable[[Sequence[Server]], list[str]]
"""Sees to the canary's ready pods; answers with a sentence for each that may not be sent requests yet."""


class RolloutKind(Protocol):
    """A kind of rollout: what it creates, what it moves, and what must hold before it moves it."""

    def freeze(self, clients: Clients, run: str) -> Frozen:
        """Everything that later tasks read. Raises a RolloutError, one sentence, for what cannot work."""

    def targets(self, cluster: Cluster) -> list[tuple[Target, K8sObject]]:
        """The objects that move, as they are now, in the order in which they are written."""

    def places(self, obj: K8sObject) -> tuple[Place, ...]:
        """The rules of an object that move. Raises RouteRefused when they cannot be moved safely."""

    def warm_up(self, run: Run) -> Mapping[str, float]:
        """Make every pod answer rightly and steadily; seconds to a first token, by pod."""

    def floors(self, run: Run) -> tuple[Floor, ...]:
        """The lower bounds of stable's autoscalers that are to be raised while it runs."""

    def room(self, run: Run, step: Step) -> Readiness:
        """Whether the canary may be given what `step` says."""

    def asks_for_room(self, run: Run, context: StepContext, health: Health, now: float) -> bool:
        """Whether room for the step after this one matters now, so that `room_ahead` is to be asked."""

    def room_ahead(self, run: Run, context: StepContext, health: Health) -> RoomAhead:
        """Whether there will be room for the step after this one."""

    def kept_share(self, run: Run, percent: int, *, patient: bool) -> int:
        """What the canary, which has `percent` %, must keep of it for now on the way back.

        What is ours is brought back to its size first. Where nobody knows how much stable can take, those
        who are `patient` wait for as many pods as it had.
        """

    def reconciler(self, run: Run) -> ReconcilePods:
        """What is done about pods that come while the rollout runs."""

    def retired(self, clients: Clients, retirement: Retirement) -> Subject:
        """What a retirement takes away."""


@dataclass(frozen=True, slots=True)
class Run:
    """What preflight froze, the clients, and the kind of rollout: the one door of a task to the outside.

    `in_flight` knows the requests in the pools the better the longer it is asked.
    """

    frozen: Frozen
    clients: Clients
    kind: RolloutKind
    in_flight: InFlight = field(default_factory=InFlight, compare=False)

    @property
    def plan(self) -> Plan:
        return self.frozen.plan

    @property
    def cluster(self) -> Cluster:
        return self.clients.cluster

    @property
    def traffic(self) -> Traffic:
        """This run's claim on what it moves."""
        return Traffic(self.cluster, self.frozen, self.kind.places)

    def attach(self) -> None:
        """Claim what moves, and from then on keep stable from being made smaller."""
        traffic = self.traffic
        for target in self.frozen.targets:
            settle_floors(traffic.writer, target)
            settle_version(traffic.writer, target)
        traffic.attach(self.kind.floors(self))
        claims = traffic.claims()
        floors = dict.fromkeys(floor for claim in claims for floor in claim.floors)
        raise_floors(self.cluster, floors, lambda: bool(traffic.claims()))

    def confirmation(self) -> Readiness:
        """Whether all gateways that served what moves have taken its weights as they are now."""
        frozen = self.frozen
        return confirmation(
            self.cluster, frozen.targets, lambda route: frozen.parents_for(route["metadata"]["name"])
        )
