"""A real server and a simulated one behind one face: started by the same command line, ended alike."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from bench.conformance.environment import VERSION, Environment
from lab.host.addresses import free_port
from lab.model_server.api import Api
from lab.model_server.images import Catalogue, Image, Kind
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer
from lab.model_server.timing import Timing

HOST = "127.0.0.1"
START = 900.0  # seconds that a real server may take on a busy machine
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
# About as fast as a real one on a CPU, for which a stream must last a while.
PACE = Timing(prefill_base=0.02, prefill_per_token=0.0, inter_token=0.006, warmup_extra=0.0, noise=0.1)


@dataclass(frozen=True, slots=True)
class Orders:
    """How a server is started: arguments after `vllm serve MODEL`, and its environment."""

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(ABC):
    """A server that serves. `kind` says whether it is the real one or the simulation."""

    kind: str
    url: str

    @abstractmethod
    def terminate(self) -> None:
        """SIGTERM."""

    @abstractmethod
    def crash_engine(self) -> None:
        """Kill the process that computes."""

    @abstractmethod
    def is_gone(self) -> bool:
        """Whether its process has ended."""

    @abstractmethod
    def stop(self) -> None:
        """End it whatever it does."""


class RealServer(Server):
    """`vllm serve` in an environment of its own."""

    kind = "real"

    def __init__(self, environment: Environment, model: Path, orders: Orders, log: Path) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self._log = log
        command = [str(environment.vllm), "serve", str(model), *orders.arguments]
        command += ["--host", HOST, "--port", str(port), "--enforce-eager", "--dtype", "bfloat16"]
        with log.open("w") as out:
            self._process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env={**os.environ, **OFFLINE, **orders.environment},
                start_new_session=True,
            )

    def wait(self) -> float:
        """Return once it is healthy, with the seconds that took. Raises RuntimeError when it never is."""
        began = time.monotonic()
        while time.monotonic() - began < START:
            if self._process.poll() is not None:
                break
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return time.monotonic() - began
            time.sleep(1)
        raise RuntimeError(f"vLLM did not come up; see {self._log}")

    def terminate(self) -> None:
        self._process.terminate()

    def crash_engine(self) -> None:
        for pid in _descendants(self._process.pid):
            if "Worker" in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                os.kill(pid, signal.SIGKILL)

    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        for pid in [*_descendants(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(60)


class SimulatedServer(Server):
    """The lab's server in a thread. `catalogue` has the adapters, `image` how it behaves."""

    kind = "simulated"

    def __init__(self, model: Path, orders: Orders, catalogue: Catalogue, **image: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        options = parse_options(["serve", str(model), *orders.arguments], orders.environment)
        described = Image(kind=Kind.VLLM, version=VERSION, timing=PACE, **image)

        async def listen() -> tuple[ModelServer, int]:
            server = ModelServer(Api(described, options, catalogue, "simulated", "simulated"))
            return server, await server.listen(HOST, 0)

        self._server, port = self._wait(listen())
        self._life: Any = asyncio.run_coroutine_threadsafe(self._server.api.crashed.wait(), self._loop)
        self.url = f"http://{HOST}:{port}"

    def terminate(self) -> None:
        self._life = asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    async def _end(self) -> None:
        await self._server.terminate()
        await self._server.stop()

    def crash_engine(self) -> None:
        requests.post(f"{self.url}/lab/crash-engine", timeout=5).raise_for_status()

    def is_gone(self) -> bool:
        return bool(self._life.done())

    def stop(self) -> None:
        self._wait(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def _wait(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(20)


def _descendants(pid: int) -> Iterator[int]:
    """All processes below one, the deepest first."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _descendants(int(child))
            yield int(child)
