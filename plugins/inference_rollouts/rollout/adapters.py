"""A new adapter on every pod of its pool, also on pods that come while it is rolled out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.model_server import (
    ServerRefused,
    complete,
    load_adapter,
    models,
    unload_adapter,
)
from inference_rollouts.core.errors import ClusterRefused, NotReady
from inference_rollouts.core.objects.inference_pool import ports
from inference_rollouts.core.objects.readiness import Json, ready_pods
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.serving.lora import process_of
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.rollout.observation import pods_of
from inference_rollouts.rollout.targets import find_pool

AT_ONCE = 16  # pods spoken to at the same time
SWITCHED_OFF = " (do the servers run with VLLM_ALLOW_RUNTIME_LORA_UPDATING=true?)"

log = logging.getLogger(__name__)


def base_url(pod: Json, port: int) -> str:
    """Where a pod's model server listens."""
    return f"http://{pod['status']['podIP']}:{port}"


def port_of(cluster: ClusterHook, pool: str) -> int:
    """The port on which the pods of a pool have their model server. Raises ClusterRefused."""
    found = find_pool(cluster, pool)
    if found is None or not (numbers := ports(found)):
        raise ClusterRefused(f"There is no InferencePool {pool} that says where its pods listen.")
    return numbers[0]


def servers(cluster: ClusterHook, pool: str) -> dict[str, str]:
    """The base URLs of a pool's ready pods, by name. Raises ClusterRefused when there is none."""
    pods = ready_pods(pods_of(cluster, pool))
    if not pods:
        raise ClusterRefused(f"InferencePool {pool} has no ready pod.")
    port = port_of(cluster, pool)
    return {pod["metadata"]["name"]: base_url(pod, port) for pod in pods}


def is_loaded(url: str, name: str) -> bool:
    """Whether a server lists an adapter."""
    return any(served.name == name for served in models(url))


def bring(name: str, url: str, plan: AdapterPlan) -> bool:
    """Make one pod answer for the canary; True if it did not before.

    Raises NotReady with the server's own words, or requests' errors of the network.
    """
    if is_loaded(url, plan.canary):
        return False
    if plan.load == "runtime":
        try:
            load_adapter(url, plan.canary, plan.path)
        except ServerRefused as error:
            hint = SWITCHED_OFF if error.status == 404 and "Not Found" in str(error) else ""
            said = str(error).rstrip(".")
            raise NotReady(
                f"Pod {name} did not load {plan.canary} from {plan.path}: {said}{hint}."
            ) from error
        log.info("%s has loaded %s", name, plan.canary)
    return True


def unload(urls: Sequence[str], name: str) -> None:
    """Unload an adapter where it can be done; a failure is logged, since an idle adapter harms nobody."""
    for url in urls:
        try:
            unload_adapter(url, name)
        except Exception as error:
            log.warning("could not unload %s at %s: %s", name, url, error)


class Keeper:
    """Sees to it that pods which come later have the canary too: they know only what they were started with.

    Each server process is asked once, in the background; a restarted one is asked again.
    """

    def __init__(self, plan: AdapterPlan, cluster: ClusterHook) -> None:
        self.plan = plan
        self.cluster = cluster
        self._asked: dict[str, Future[str]] = {}
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="adapters")

    def look(self, pods: Sequence[Json]) -> list[str]:
        """A sentence for each ready pod that is not known to answer for the canary."""
        present = {process_of(pod): pod for pod in pods}
        self._asked = {process: asked for process, asked in self._asked.items() if process in present}
        return [said for process, pod in present.items() if (said := self._see(process, pod))]

    def _see(self, process: str, pod: Json) -> str:
        name = pod["metadata"]["name"]
        asked = self._asked.get(process)
        if asked is None:
            asked = self._asked[process] = self._threads.submit(self._ask, pod)
        if not asked.done():
            return f"Pod {name} is being asked for {self.plan.canary}."
        if wrong := asked.result():
            del self._asked[process]
            return wrong
        return ""

    def _ask(self, pod: Json) -> str:
        """What is wrong with the canary on a pod, empty if nothing is."""
        plan = self.plan
        try:
            url = base_url(pod, port_of(self.cluster, plan.pool))
            if bring(pod["metadata"]["name"], url, plan):
                warm = plan.warm_up
                answer = complete(url, plan.canary, warm.prompts[0], warm.max_tokens, warm.request_timeout)
                wrong = mistake(answer, plan.canary)
                return f"Pod {pod['metadata']['name']} {wrong}." if wrong else ""
        except Exception as error:
            return f"{plan.canary} is not known to be on every pod: {error}"
        return ""
