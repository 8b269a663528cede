"""Both adapters on every pod of their pool, also on pods that come while the new one is rolled out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference_rollouts.clients import Clients
from inference_rollouts.core.errors import NotReady, ServerRefused
from inference_rollouts.core.limits import SERVERS_AT_ONCE
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.rollout.pods import Server, servers_of
from inference_rollouts.rollout.serving import listed, on_each

if TYPE_CHECKING:  # a client is used by few who may
    from inference_rollouts.clients.model_server import ModelServers

SWITCHED_OFF = f" (do the servers run with {vllm.RUNTIME_ADAPTERS}=true?)"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An adapter that pods must answer for. Empty `path`: they come to it without being told."""

    name: str
    path: str


def new_adapter(plan: AdapterPlan) -> Wanted:
    """The canary: told to servers only where the plan says so."""
    return Wanted(plan.canary, plan.path if plan.load == "runtime" else "")


def old_adapter(frozen: Frozen) -> Wanted:
    """Stable: loaded from where the pods of before have it."""
    plan = frozen.plan.as_adapter_plan
    return Wanted(plan.stable, frozen.stable_path if plan.load == "runtime" else "")


def is_loaded(servers: ModelServers, pod: str, url: str, name: str) -> bool:
    """Whether a pod lists an adapter. Raises ClusterRefused or ServerUnavailable when it does not say."""
    return any(served.name == name for served in listed(servers, pod, url))


def ensure_loaded(servers: ModelServers, pod: str, url: str, wanted: Wanted) -> bool:
    """Make one pod answer for an adapter; True if it did not before.

    Raises NotReady with the server's own words, or as `is_loaded`.
    """
    if is_loaded(servers, pod, url, wanted.name):
        return False
    if wanted.path:
        try:
            servers.load_adapter(url, wanted.name, wanted.path)
        except ServerRefused as error:
            hint = SWITCHED_OFF if error.status == 404 and "Not Found" in str(error) else ""
            why = str(error).rstrip(".")
            text = f"Pod {pod} did not load {wanted.name} from {wanted.path}: {why}{hint}."
            raise NotReady(text) from error
        log.info("%s has loaded %s", pod, wanted.name)
    return True


def load_everywhere(servers: ModelServers, urls: dict[str, str], plan: AdapterPlan) -> list[str]:
    """Load the canary on every pod, or on none; the names of those that had to load it.

    Raises NotReady when a pod refuses, else the first ServerUnavailable.
    """
    wanted = new_adapter(plan)
    with ThreadPoolExecutor(SERVERS_AT_ONCE) as threads:
        tries = {pod: threads.submit(ensure_loaded, servers, pod, urls[pod], wanted) for pod in urls}
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


def bring_old_back(clients: Clients, frozen: Frozen) -> None:
    """See to it that every ready pod answers for stable before all traffic goes there.

    What fails is logged and in nobody's way: most pods have it already.
    """
    pool, wanted = frozen.plan.as_adapter_plan.pool, old_adapter(frozen)

    def ensure(pod: str, url: str) -> None:
        try:
            ensure_loaded(clients.servers, pod, url, wanted)
        except Exception as error:
            log.warning("nobody knows whether %s answers for %s: %s", pod, wanted.name, error)

    try:
        on_each(servers_of(clients.cluster, pool), ensure)
    except Exception as error:
        log.warning("nobody knows which pods answer for %s: %s", wanted.name, error)


class AdapterReconciler:
    """Sees to it that pods which come later have both: they know only what they were started with.

    Each server process is asked once, in the background; a restarted one is asked again.
    """

    def __init__(self, frozen: Frozen, clients: Clients) -> None:
        self.plan = frozen.plan.as_adapter_plan
        self.wanted = (old_adapter(frozen), new_adapter(self.plan))
        self.clients = clients
        self._asked: dict[str, Future[str]] = {}
        self._threads = ThreadPoolExecutor(SERVERS_AT_ONCE, thread_name_prefix="adapters")

    def __call__(self, servers: Sequence[Server]) -> list[str]:
        """A sentence for each ready pod that is not known to answer for both."""
        present = {server.process: server for server in servers}
        self._asked = {process: asked for process, asked in self._asked.items() if process in present}
        lacks = map(self._lack, present.values())
        return [sentence for sentence in lacks if sentence]

    def _lack(self, server: Server) -> str:
        asked = self._asked.get(server.process)
        if asked is None:
            self._asked[server.process] = self._threads.submit(self._ensure, server)
        if asked is None or not asked.done():
            return f"Pod {server.pod} is being asked for {' and '.join(each.name for each in self.wanted)}."
        if wrong := asked.result():
            del self._asked[server.process]
            return wrong
        return ""

    def _ensure(self, server: Server) -> str:
        """What is wrong with the adapters on a pod, empty if nothing is."""
        if not server.url:
            return f"Nobody knows where pod {server.pod} listens."
        return " ".join(filter(None, (self._wrong(server, wanted) for wanted in self.wanted)))

    def _wrong(self, server: Server, wanted: Wanted) -> str:
        servers, how, url = self.clients.servers, self.plan.warm_up, server.url
        try:
            if not ensure_loaded(servers, server.pod, url, wanted):
                return ""
            answer = servers.complete(url, wanted.name, how.prompts[0], how.max_tokens, how.request_timeout)
        except Exception as error:
            return f"{wanted.name} is not known to be on every pod: {error}"
        wrong = mistake(answer, wanted.name)
        return f"Pod {server.pod} {wrong}." if wrong else ""
