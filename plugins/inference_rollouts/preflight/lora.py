"""The new adapter's name is free on every pod and in the cluster, and the old one answers everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.lora import conflict, named_in
from inference_rollouts.core.plan import AdapterPlan
from inference_rollouts.core.warmup import mistake
from inference_rollouts.core.weights import Target
from inference_rollouts.hooks import adapters
from inference_rollouts.hooks.cluster import ClusterHook
from inference_rollouts.hooks.model_server import complete, models
from inference_rollouts.hooks.targets import EXTENSION_APIS, SPLITTING_KINDS


def check(cluster: ClusterHook, plan: AdapterPlan, targets: Sequence[Target]) -> None:
    """Raises RouteRefused or ClusterRefused, naming what is in the way."""
    _check_names(cluster, plan, targets)
    urls = adapters.servers(cluster, plan.pool)
    with ThreadPoolExecutor(adapters.AT_ONCE) as threads:
        wrong = [said for said in threads.map(lambda name: _wrong(name, urls[name], plan), urls) if said]
    if wrong:
        raise ClusterRefused(wrong[0])


def _check_names(cluster: ClusterHook, plan: AdapterPlan, targets: Sequence[Target]) -> None:
    """No other rewrite of the pool knows the canary: at weight 0 it must serve nobody."""
    ours = {(target.kind, target.name) for target in targets}
    for kind in SPLITTING_KINDS:
        for api in EXTENSION_APIS:
            for thing in cluster.select(api, kind) if cluster.serves(api, kind) else ():
                of_pool = thing["spec"].get("poolRef", {}).get("name") == plan.pool
                name = thing["metadata"]["name"]
                if of_pool and (kind, name) not in ours and named_in(thing, plan.canary):
                    raise RouteRefused(
                        f"{kind} {name} names {plan.canary} already; a canary must be one that serves nobody."
                    )


def _wrong(name: str, url: str, plan: AdapterPlan) -> str | None:
    """What is in the way on one pod."""
    served = models(url)
    if said := conflict(served, plan.canary, plan.path):
        return f"Pod {name} {said}."
    warm = plan.warm_up
    answer = complete(url, plan.stable, warm.prompts[0], warm.max_tokens, warm.request_timeout)
    if said := mistake(answer, plan.stable):
        return (
            f"Pod {name}, asked for {plan.stable}, {said}; what serves today must answer on every "
            "pod, so that traffic can go back to it."
        )
    return None
