"""What a run that preflight accepts would do to the cluster: read from it, and the server's own dry run."""

from __future__ import annotations

from inference_rollouts.core.objects.k8s import K8sObject, title_of
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.reporting.changes import changes
from inference_rollouts.core.reporting.forecast import Change, Forecast, shares
from inference_rollouts.core.run.pace import pace_of
from inference_rollouts.core.schedule.outlook import outlook
from inference_rollouts.preflight.measuring import check_power
from inference_rollouts.preflight.prospects import prospects
from inference_rollouts.rollout.observation import exporters_of
from inference_rollouts.rollout.run import Run


def forecast(run: Run, now: float) -> Forecast:
    """Raises what `check_power` raises."""
    frozen, cluster = run.frozen, run.cluster
    power, missed = check_power(run.clients.prometheus, frozen, now, exporters_of(cluster, frozen))
    applied = [_applied(run, manifest) for manifest in (*frozen.manifests, *frozen.previews)]
    moved = []
    for target in frozen.targets:
        obj = cluster.get(target.api, target.kind, target.name)
        moved.append(shares(target, obj, run.kind.places(obj), frozen.plan))
    made_here = {(each["kind"], each["metadata"]["name"]) for each in frozen.manifests}
    floors = [
        Change(
            f"{floor.kind} {floor.name}",
            "to change",
            (f"- {floor.path}: {floor.found}", f"+ {floor.path}: {floor.held}"),
        )
        for floor in run.kind.floors(run)
        if (floor.kind, floor.name) not in made_here
    ]
    missed += outlook(frozen.calendar, pace_of(frozen.plan), now)
    missed += prospects(run.clients, frozen, now)
    made = [change for change in applied if change.lines]
    return Forecast(
        frozen.plan,
        now,
        (*made, *moved, *floors),
        tuple(_stays(run)),
        power,
        tuple(missed),
        frozen.calendar,
        frozen.findings,
    )


def _applied(run: Run, manifest: K8sObject) -> Change:
    """A manifest against the cluster: as it would be then, by the API server's own word."""
    live = run.cluster.find(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    if live is None:
        return Change(title_of(manifest), "to create", tuple(changes(None, manifest)))
    then = run.cluster.apply(manifest, dry_run=True)
    return Change(title_of(manifest), "to change", tuple(changes(live, then)))


def _stays(run: Run) -> list[str]:
    """What a reader may fear for."""
    plan = run.plan
    pool = plan.pool_of(plan.stable)
    until = f"also after a promotion, until {plan.retire_dag_id}"
    said = [f"InferencePool {pool}, its pods and its nodes, {until}"]
    if isinstance(plan, AdapterPlan):  # no rollout of one brought the pool, and no retirement takes it away
        said = [f"InferencePool {pool} and its pods", f"adapter {plan.stable} on every pod, {until}"]
    said += [f"{other}, which sends traffic to {pool} too" for other in run.frozen.shared]
    said.append("every other rule, filter and weight of the objects above")
    return said
