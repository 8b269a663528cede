"""A new adapter on every pod of its pool, also on pods that come while it is rolled out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from inference_rollouts.clients import Clients
from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.core.errors import NotReady, ServerRefused
from inference_rollouts.core.limits import SERVERS_AT_ONCE
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.serving.adapters import process_of
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.rollout.pods import base_url, port_of

SWITCHED_OFF = f" (do the servers run with {vllm.RUNTIME_ADAPTERS}=true?)"

log = logging.getLogger(__name__)


def is_loaded(servers: ModelServers, url: str, name: str) -> bool:
    """Whether a server lists an adapter."""
    return any(served.name == name for served in servers.models(url))


def ensure_loaded(servers: ModelServers, pod: str, url: str, plan: AdapterPlan) -> bool:
    """Make one pod answer for the canary; True if it did not before.

    Raises NotReady with the server's own words, or ServerUnavailable.
    """
    if is_loaded(servers, url, plan.canary):
        return False
    if plan.load == "runtime":
        try:
            servers.load_adapter(url, plan.canary, plan.path)
        except ServerRefused as error:
            hint = SWITCHED_OFF if error.status == 404 and "Not Found" in str(error) else ""
            why = str(error).rstrip(".")
            raise NotReady(f"Pod {pod} did not load {plan.canary} from {plan.path}: {why}{hint}.") from error
        log.info("%s has loaded %s", pod, plan.canary)
    return True


def load_everywhere(servers: ModelServers, urls: dict[str, str], plan: AdapterPlan) -> list[str]:
    """Load the canary on every pod, or on none; the names of those that had to load it.

    Raises NotReady when a pod refuses, else the first ServerUnavailable.
    """
    with ThreadPoolExecutor(SERVERS_AT_ONCE) as threads:
        tries = {pod: threads.submit(ensure_loaded, servers, pod, urls[pod], plan) for pod in urls}
    errors = [error for future in tries.values() if (error := future.exception())]
    loaded = sorted(pod for pod, future in tries.items() if not future.exception() and future.result())
    if not errors:
        return loaded
    unload(servers, [urls[pod] for pod in loaded], plan.canary)
    refusal = next((error for error in errors if isinstance(error, NotReady)), None)
    if refusal is None:
        raise errors[0]
    raise NotReady(f"{refusal} Pods that had loaded it unload it again; no traffic was moved.") from refusal


def unload(servers: ModelServers, urls: Sequence[str], name: str) -> None:
    """Unload an adapter where it can be done; a failure is logged, since an idle adapter harms nobody."""
    for url in urls:
        try:
            servers.unload_adapter(url, name)
        except Exception as error:
            log.warning("could not unload %s at %s: %s", name, url, error)


class AdapterReconciler:
    """Sees to it that pods which come later have the canary too: they know only what they were started with.

    Each server process is asked once, in the background; a restarted one is asked again.
    """

    def __init__(self, plan: AdapterPlan, clients: Clients) -> None:
        self.plan = plan
        self.clients = clients
        self._asked: dict[str, Future[str]] = {}
        self._threads = ThreadPoolExecutor(SERVERS_AT_ONCE, thread_name_prefix="adapters")

    def __call__(self, pods: Sequence[K8sObject]) -> list[str]:
        """A sentence for each ready pod that is not known to answer for the canary."""
        present = {process_of(pod): pod for pod in pods}
        self._asked = {process: asked for process, asked in self._asked.items() if process in present}
        lacks = (self._lack(process, pod) for process, pod in present.items())
        return [sentence for sentence in lacks if sentence]

    def _lack(self, process: str, pod: K8sObject) -> str:
        name = pod["metadata"]["name"]
        asked = self._asked.get(process)
        if asked is None:
            asked = self._asked[process] = self._threads.submit(self._ensure, pod)
        if not asked.done():
            return f"Pod {name} is being asked for {self.plan.canary}."
        if wrong := asked.result():
            del self._asked[process]
            return wrong
        return ""

    def _ensure(self, pod: K8sObject) -> str:
        """What is wrong with the canary on a pod, empty if nothing is."""
        plan, servers, name = self.plan, self.clients.servers, pod["metadata"]["name"]
        try:
            url = base_url(pod, port_of(self.clients.cluster, plan.pool))
            if ensure_loaded(servers, name, url, plan):
                how = plan.warm_up
                answer = servers.complete(
                    url, plan.canary, how.prompts[0], how.max_tokens, how.request_timeout
                )
                wrong = mistake(answer, plan.canary)
                return f"Pod {name} {wrong}." if wrong else ""
        except Exception as error:
            return f"{plan.canary} is not known to be on every pod: {error}"
        return ""
