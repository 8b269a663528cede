"""The lab's model servers, in this process, standing in for the pods of pools."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from inference_rollouts.clients.model_server import HttpModelServers, Prompt
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer
from lab.model_server.api import Api
from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue, Image, Kind
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer
from lab.model_server.timing import Timing
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import llm

BASE = "meta-llama/Llama-3.1-8B-Instruct"
MODEL = "llama-3.1-8b"
PORT = 8000
RUNTIME = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}
QUICK = Timing(prefill_base=0.0, prefill_per_token=0.0, inter_token=0.0, warmup_extra=0.0, noise=0.0)
CATALOGUE = Catalogue(
    {},
    {
        "/adapters/rank-64": Adapter(64, BASE),
        "/adapters/other-base": Adapter(8, "google/gemma-2-9b-it", hidden_size=3584),
        "/adapters/broken": Adapter(8, BASE, faults=Faults(http_500=1.0)),
        "/adapters/*": Adapter(8, BASE),
    },
)


SQL = ["--enable-lora", "--lora-modules", "sql=/adapters/sql"]


def adapters(name: str = "sql", path: str = "/adapters/sql", **more: Any) -> list[dict[str, Any]]:
    """What a plan's workload says of one adapter."""
    return [{"name": name, "path": path, **more}]


def one_replica(**changes: Any) -> dict[str, Any]:
    """The workload of the plan llm, small enough for a stable pool of one pod."""
    return {**llm()["workload"], "replicas": 1, **changes}


class LabServers:
    """Servers by pool and pod, spoken to over HTTP. `stop` ends them all.

    A pod has an address of its own, as in a cluster; a request to it goes where its server really listens.
    The `answers` for a URL are given, the last first, before its server is asked for a completion; `answered`
    counts how often it was. `key` is sent with every request.
    """

    def __init__(self) -> None:
        self.pools: dict[str, list[str]] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.answered: Counter[str] = Counter()
        self.key = ""
        self._http = HttpModelServers(key=lambda: self.key)
        self._listening: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._running: list[ModelServer] = []

    def start(
        self, pool: str, *args: str, names: tuple[str, ...] = (MODEL,), api: bool = False, **image: Any
    ) -> str:
        """One more pod of a pool; returns its URL. `api` allows loading adapters at run time."""
        number = len(self._listening) + 1
        pods = self.pools.setdefault(pool, [])
        name = f"{pool}-{len(pods)}"
        argv = ["vllm", "serve", BASE, "--served-model-name", *names, *args]
        options = parse_options(argv, RUNTIME if api else {})
        described = Image(**{"kind": Kind.VLLM, "timing": QUICK, **image})

        async def listen() -> int:
            server = ModelServer(Api(described, options, CATALOGUE, name, pool))
            port = await server.listen("127.0.0.1", 0)
            self._running.append(server)
            return port

        pods.append(f"192.0.2.{number}")
        url = f"http://{pods[-1]}:{PORT}"
        self._listening[url] = f"http://127.0.0.1:{self._wait(listen())}"
        return url

    def listening(self, url: str) -> str:
        """Where the server of a pod really listens."""
        return self._listening[url]

    def __enter__(self) -> LabServers:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cluster(self) -> FakeCluster:
        """A cluster whose pools have the pods that were started."""
        cluster = FakeCluster()
        self.place(cluster)
        return cluster

    def place(self, cluster: FakeCluster) -> None:
        """Give each pool of the cluster the pods that were started for it."""
        for pool, addresses in self.pools.items():
            if ("InferencePool", pool) not in cluster.objects:
                continue
            cluster.scale(pool, len(addresses))
            for number, address in enumerate(addresses):
                cluster.objects["Pod", f"{pool}-{number}"]["status"]["podIP"] = address

    def models(self, base_url: str) -> list[Served]:
        return self._http.models(self._listening[base_url])

    def version(self, base_url: str) -> str:
        return self._http.version(self._listening[base_url])

    def wants_key(self, base_url: str) -> bool:
        return self._http.wants_key(self._listening[base_url])

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        self._http.load_adapter(self._listening[base_url], name, path)

    def unload_adapter(self, base_url: str, name: str) -> None:
        self._http.unload_adapter(self._listening[base_url], name)

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        if given := self.answers.get(base_url):
            return given.pop()
        self.answered[base_url] += 1
        return self._http.complete(self._listening[base_url], model, prompt, max_tokens, timeout)

    def stop(self) -> None:
        for server in self._running:
            self._wait(server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _wait(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(20)
