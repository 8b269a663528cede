"""The new adapter's name is free on every pod and in the cluster, and the old one answers everywhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.limits import SERVERS_AT_ONCE
from inference_rollouts.core.objects.api_groups import EXTENSION_APIS, SPLITTING_KINDS
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.routing.rewrite import named_in
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.serving.adapters import Adapter, Lora, conflict, misfits
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.rollout.pods import pods_of, servers_of
from inference_rollouts.rollout.serving import listed, seen_by

log = logging.getLogger(__name__)


def check(clients: Clients, plan: AdapterPlan, targets: Sequence[Target]) -> None:
    """Raises RouteRefused or ClusterRefused, naming what is in the way."""
    _check_names(clients.cluster, plan, targets)
    urls = servers_of(clients.cluster, plan.pool)
    with ThreadPoolExecutor(SERVERS_AT_ONCE) as threads:
        answers = threads.map(lambda pod: _wrong(clients.servers, pod, urls[pod], plan), urls)
        wrong = [sentence for sentence in answers if sentence]
    if wrong:
        raise ClusterRefused(wrong[0])
    if plan.config is not None:
        _check_config(clients, plan, plan.config, *next(iter(urls.items())))


def path_of_stable(clients: Clients, plan: AdapterPlan) -> str:
    """Where pods have the old adapter from, so that later ones can be given it too.

    Empty, and warned of, where they do not say or do not agree; empty too for the base model itself.
    """
    seen = seen_by(clients.servers, servers_of(clients.cluster, plan.pool))
    known = [each for served in seen.values() for each in served if each.name == plan.stable]
    paths = {each.path for each in known if each.parent}
    if len(paths) == 1 or (known and not paths) or plan.load == "lazy":
        return paths.pop() if paths else ""
    have = f"different paths ({', '.join(sorted(paths))})" if paths else "no path that they tell"
    log.warning(
        "The pods of %s have %s from %s: pods that come later cannot be given it.",
        plan.pool,
        plan.stable,
        have,
    )
    return ""


def _check_names(cluster: Cluster, plan: AdapterPlan, targets: Sequence[Target]) -> None:
    """No other rewrite of the pool knows the canary: at weight 0 it must serve nobody."""
    ours = {(target.kind, target.name) for target in targets}
    for kind in SPLITTING_KINDS:
        for api in EXTENSION_APIS:
            for obj in cluster.select(api, kind) if cluster.serves(api, kind) else ():
                of_pool = obj["spec"].get("poolRef", {}).get("name") == plan.pool
                name = obj["metadata"]["name"]
                if of_pool and (kind, name) not in ours and named_in(obj, plan.canary):
                    raise RouteRefused(
                        f"{kind} {name} names {plan.canary} already; a canary must be one that serves nobody."
                    )


def _check_config(clients: Clients, plan: AdapterPlan, config: str, pod: str, url: str) -> None:
    """The adapter fits the servers, as far as its config shows: `pod` at `url` is one of them."""
    served = listed(clients.servers, pod, url)
    named = {name for each in served if not each.parent for name in (each.name, each.path)}
    pods = ready_pods(pods_of(clients.cluster, plan.pool))
    rank = min(vllm.max_lora_rank(vllm.arguments_of(pod)) for pod in pods)
    adapter = Adapter(name=plan.canary, path=plan.path, config=config)
    takes = Lora(target_modules=plan.target_modules)
    if wrong := list(
        misfits(adapter, clients.storage.read_json(config), takes, named | set(plan.bases), rank)
    ):
        raise ClusterRefused(" ".join(wrong))


def _wrong(servers: ModelServers, pod: str, url: str, plan: AdapterPlan) -> str | None:
    """What is in the way on one pod."""
    if taken := conflict(listed(servers, pod, url), plan.canary, plan.path):
        return f"Pod {pod} {taken}."
    how = plan.warm_up
    answer = servers.complete(url, plan.stable, how.prompts[0], how.max_tokens, how.request_timeout)
    if wrong := mistake(answer, plan.stable):
        return (
            f"Pod {pod}, asked for {plan.stable}, {wrong}; what serves today must answer on every "
            "pod, so that traffic can go back to it."
        )
    return None
