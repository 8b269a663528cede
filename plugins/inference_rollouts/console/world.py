"""The World beside Airflow: its database, and the connections of plans."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.clients import Clients
from inference_rollouts.clients.include import load_plans
from inference_rollouts.console import cluster, runs
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.undo import Aftermath


class AirflowWorld:
    """Each method as in `source.World`."""

    def dags(self) -> list[runs.PlanDag]:
        return runs.plan_dags()

    def plans(self) -> dict[str, Plan]:
        return {plan.dag_id: plan for _, plan in load_plans() if not isinstance(plan, PlanInvalid)}

    def in_flight(self) -> list[SeenRun]:
        return runs.runs_in_flight()

    def ended(self, dags: Sequence[str] | None = None, before: float | None = None) -> list[SeenRun]:
        return runs.runs_that_ended(dags, before)

    def whole(self, dag: str, run: str) -> SeenRun | None:
        return runs.whole_run(dag, run)

    def frozen(self, dag: str, run: str) -> Frozen:
        return Frozen.from_json(runs.frozen_of(dag, run) or {})

    def claims(self, place: cluster.Place) -> cluster.Claims:
        return cluster.claims_in(place)

    def surroundings(self, frozen: Frozen) -> cluster.Surroundings:
        return cluster.surroundings_of(frozen)

    def aftermath(self, frozen: Frozen) -> Aftermath:
        return cluster.aftermath_in(frozen)

    def clients(self, frozen: Frozen) -> Clients:
        return cluster.clients_in(cluster.place_of(frozen.plan))
