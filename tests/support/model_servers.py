"""The lab's model servers, in this process, standing in for the pods of pools."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from lab.model_server.api import Api
from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue, Image, Kind
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer
from lab.model_server.timing import Timing

BASE = "meta-llama/Llama-3.1-8B-Instruct"
MODEL = "llama-3.1-8b"
RUNTIME = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}
QUICK = Timing(prefill_base=0.0, prefill_per_token=0.0, inter_token=0.0, warmup_extra=0.0, noise=0.0)
CATALOGUE = Catalogue(
    {},
    {
        "/adapters/rank-64": Adapter(64, BASE),
        "/adapters/other-base": Adapter(8, "mistralai/Mistral-7B-Instruct-v0.3"),
        "/adapters/broken": Adapter(8, BASE, Faults(http_500=1.0)),
        "/adapters/*": Adapter(8, BASE),
    },
)


class ModelServers:
    """Servers by pool and pod. Made once a test; `stop` ends them all."""

    def __init__(self) -> None:
        self.pools: dict[str, dict[str, str]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._running: list[ModelServer] = []

    def start(
        self, pool: str, *args: str, names: tuple[str, ...] = (MODEL,), api: bool = False, **image: Any
    ) -> str:
        """One more pod of a pool; returns its URL. `api` allows loading adapters at run time."""
        pods = self.pools.setdefault(pool, {})
        pod = f"{pool}-{len(pods)}"
        argv = [f"--model={BASE}", "--served-model-name", *names, *args]
        options = parse_options(argv, RUNTIME if api else {})
        described = Image(**{"kind": Kind.VLLM, "timing": QUICK, **image})

        async def listen() -> int:
            server = ModelServer(Api(described, options, CATALOGUE, pod, pool))
            port = await server.listen("127.0.0.1", 0)
            self._running.append(server)
            return port

        pods[pod] = f"http://127.0.0.1:{self._wait(listen())}"
        return pods[pod]

    def of(self, _: object, pool: str) -> dict[str, str]:
        """Stands in for hooks.adapters.servers."""
        return self.pools[pool]

    def stop(self) -> None:
        for server in self._running:
            self._wait(server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _wait(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(20)
