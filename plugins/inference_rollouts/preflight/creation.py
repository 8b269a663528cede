"""What a rollout will create, and whether the cluster would accept it."""

from __future__ import annotations

from collections.abc import Iterable

from inference_rollouts.clients.include import load_manifests
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, Forbidden
from inference_rollouts.core.objects.k8s import K8sObject, title_of
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.objects.takeover import Verdict, finding
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.manifests import (
    clone_for,
    is_spare,
    is_wanted,
    manifest_values,
    owned,
    render,
)
from inference_rollouts.core.run.taking_over import (
    SERVING_KINDS,
    Stable,
    Takeover,
    like_stable_manifests,
    succession_of,
    take_over,
)
from inference_rollouts.preflight.takeover import check_overlaps
from inference_rollouts.rollout.targets import bound_to


def manifests(cluster: Cluster, given: PoolPlan, plan: PoolPlan, stable: Stable) -> Takeover:
    """All that makes the canary have what stable has, each with the labels that say whose it is.

    `plan` is what was `given`, resolved. Compared with stable is what the server would make of each manifest:
    its defaults are no difference. Raises ClusterRefused where pods would be of both pools, and as `check`.
    """
    values = manifest_values(plan, stable.pool)
    rendered = [render(template, values) for template in load_manifests()]
    wanted = [manifest for manifest in rendered if is_wanted(manifest, stable.pool, cluster.serves)]
    if plan.workload.like == "stable":
        made, succession = like_stable_manifests(given, plan, stable)
        wanted = [*made, *(each for each in wanted if each["kind"] not in SERVING_KINDS)]
    else:
        succession = succession_of(plan, stable, wanted)
    sure = [owned(each, plan.name, plan.canary) for each in wanted if not is_spare(each)]
    seen = {title_of(each): each for each in check(cluster, plan, sure)}
    check_overlaps(cluster, plan, stable, [seen.get(title_of(each), each) for each in wanted])
    taken = take_over(plan, stable, wanted, succession, seen)
    clones = _clones(cluster, plan)
    taken.findings += [finding(obj, Verdict.TAKEN_OVER, clone["metadata"]["name"]) for obj, clone in clones]
    taken.manifests = [
        owned(manifest, plan.name, plan.canary)
        for manifest in (*taken.manifests, *(new for _, new in clones))
    ]
    check(cluster, plan, [each for each in taken.manifests if each not in sure])
    taken.copies = [(obj, owned(copy, plan.name, plan.canary)) for obj, copy in taken.copies]
    return taken


def check(cluster: Cluster, plan: PoolPlan, wanted: Iterable[K8sObject]) -> list[K8sObject]:
    """What the server would make of every manifest, none of which would overwrite somebody else's object.

    Raises ClusterRefused for one that it would not accept, or whose name is taken.
    """
    made = []
    for manifest in wanted:
        if why := _taken(cluster, plan, manifest):
            raise ClusterRefused(f"{why}; choose another name for the canary.")
        made.append(cluster.apply(manifest, dry_run=True))
    return made


def accepted_copies(cluster: Cluster, plan: PoolPlan, taken: Takeover) -> list[K8sObject]:
    """The copies that the cluster would accept; a row says why of each that it would not."""
    accepted = []
    for obj, copy in taken.copies:
        why = _taken(cluster, plan, copy)
        try:
            if not why:
                cluster.apply(copy, dry_run=True)
        except (ClusterRefused, Forbidden) as error:
            why = str(error)
        if not why:
            accepted.append(copy)
            continue
        rest = [each for each in taken.findings if each.object != title_of(obj)]
        taken.findings = [*rest, finding(obj, Verdict.CANNOT, "", why=why)]
    return accepted


def _taken(cluster: Cluster, plan: PoolPlan, manifest: K8sObject) -> str:
    """Whose object has a manifest's name, if it is not this plan's."""
    existing = cluster.find(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    foreign = existing is not None and not is_ours(existing, plan.name)
    return f"{title_of(manifest)} exists and is not this plan's" if foreign else ""


def _clones(cluster: Cluster, plan: PoolPlan) -> list[tuple[K8sObject, K8sObject]]:
    """The stable pool's objectives and rewrites, for the canary, each in its own API group.

    Where two groups are installed, newer endpoint pickers read the one and older ones the other.
    """
    return [(obj, clone_for(obj, plan.stable, plan.canary)) for obj in bound_to(cluster, plan.stable)]
