"""What the pages are made of, and where that comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from inference_rollouts.clients import Clients
from inference_rollouts.console.cluster import Claims, Place, Surroundings
from inference_rollouts.console.runs import PlanDag
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.undo import Aftermath


class Source(Protocol):
    """What the pages are made of. Everything is JSON; None: there is no such thing."""

    def overview(self) -> dict[str, Any]:
        """All rollouts, their history and plans; each has the `dag` by which people may see it."""

    def history(self, before: float) -> dict[str, Any]:
        """The rollouts that ended before a time (Unix s), as far as one page of them goes."""

    def one(self, dag: str, run: str) -> dict[str, Any] | None:
        """One rollout: its line, steps, events, pods, verdict, question, report."""

    def series(self, dag: str, run: str) -> dict[str, Any] | None:
        """Its charts."""

    def rejudged(self, dag: str, run: str, alpha: float) -> dict[str, Any] | None:
        """Its record judged again under another alpha. Raises DecisionRecordBroken."""

    def plan(self, dag: str) -> dict[str, Any] | None:
        """A plan, and the latest look ahead at what it would do."""

    def command(self, dag: str, run: str, what: str, who: str, why: str) -> str:
        """Command the rollout by this run and no other; what happens to the traffic now.

        Raises CommandRefused, ClaimLost where it claims nothing, and what the cluster raises.
        """


class World(Protocol):
    """Where the answers come from. What is not there raises what its clients raise."""

    def dags(self) -> list[PlanDag]:
        """The DAGs of all plans."""

    def plans(self) -> dict[str, Plan]:
        """Plans that are valid, by the ids of their DAGs."""

    def in_flight(self) -> list[SeenRun]:
        """Every run that is not over."""

    def ended(self, dags: Sequence[str] | None = None, before: float | None = None) -> list[SeenRun]:
        """The latest FINISHED that are: of these DAGs alone, and before a time (Unix seconds), if given."""

    def whole(self, dag: str, run: str) -> SeenRun | None:
        """One run, with all that its tasks left."""

    def frozen(self, dag: str, run: str) -> Frozen:
        """What preflight froze."""

    def claims(self, place: Place) -> Claims:
        """What is claimed on a cluster."""

    def surroundings(self, frozen: Frozen) -> Surroundings:
        """Pods and Events."""

    def aftermath(self, frozen: Frozen) -> Aftermath:
        """What can become of the promotion by a run."""

    def clients(self, frozen: Frozen) -> Clients:
        """The clients of a run."""
