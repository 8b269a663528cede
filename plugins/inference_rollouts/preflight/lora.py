"""The new adapter's name is free on every pod and in the cluster, and the old one answers everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.model_server import complete, models
from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.objects.api_groups import EXTENSION_APIS, SPLITTING_KINDS
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.serving.adapters import Adapter, Lora, misfits
from inference_rollouts.core.serving.lora import conflict, max_rank, named_in
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.hooks.objects import read_json
from inference_rollouts.rollout import adapters
from inference_rollouts.rollout.observation import pods_of


def check(cluster: ClusterHook, plan: AdapterPlan, targets: Sequence[Target]) -> None:
    """Raises RouteRefused or ClusterRefused, naming what is in the way."""
    _check_names(cluster, plan, targets)
    urls = adapters.servers(cluster, plan.pool)
    with ThreadPoolExecutor(adapters.AT_ONCE) as threads:
        wrong = [said for said in threads.map(lambda name: _wrong(name, urls[name], plan), urls) if said]
    if wrong:
        raise ClusterRefused(wrong[0])
    if plan.config is not None:
        _check_config(cluster, plan, plan.config, next(iter(urls.values())))


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


def _check_config(cluster: ClusterHook, plan: AdapterPlan, config: str, url: str) -> None:
    """The adapter fits the servers, as far as its config tells: `url` is that of one of them."""
    named = {word for each in models(url) if not each.parent for word in (each.name, each.path)}
    rank = min(max_rank(pod) for pod in ready_pods(pods_of(cluster, plan.pool)))
    adapter = Adapter(name=plan.canary, path=plan.path, config=config)
    takes = Lora(target_modules=plan.target_modules)
    if wrong := list(misfits(adapter, read_json(config), takes, named | set(plan.bases), rank)):
        raise ClusterRefused(" ".join(wrong))


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
