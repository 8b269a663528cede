"""`python -m bench.conformance [--venv DIR]`: is the lab's model server as vLLM is? See docs/conformance.md.

Starts real servers on this machine's CPU. Exit status 1 when anything disagrees.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.conformance import ending, limits, tiny
from bench.conformance.answers import first_request, same_answers, same_metrics
from bench.conformance.conversations import ALIAS, MODEL
from bench.conformance.counting import same_counts
from bench.conformance.environment import Environment
from bench.conformance.pipeline import same_findings
from bench.conformance.servers import Orders, RealServer, Server, SimulatedServer
from bench.conformance.table import Row, compared, lines
from lab.host.state import CHECKOUT
from lab.model_server.images import Adapter, Catalogue

NAMES = ("--served-model-name", MODEL, ALIAS, "--max-model-len", str(tiny.CONTEXT))
ADAPTERS = ("--enable-lora", "--max-lora-rank", "16", "--max-loras", "4", "--max-num-seqs", "16")
Pair = tuple[Server, Server]


class Workshop:
    """Where servers are made: an environment, a folder with model and adapters."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.adapters = folder / "adapters"
        self.model = folder / "model"
        command = [str(environment.python), "-m", "bench.conformance.tiny", str(folder)]
        subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)

    def catalogue(self) -> Catalogue:
        """The adapters as the simulation knows them."""
        known = {
            str(self.adapters / name): Adapter(
                rank=rank,
                base=more.get("base_model_name_or_path", str(self.model)),
                modules=modules or ("q_proj",),
                hidden_size=width,
                dora=bool(more.get("use_dora")),
                weights=bool(modules),
            )
            for name, (rank, width, modules, more) in tiny.ADAPTERS.items()
        }
        return Catalogue({}, known)

    @contextmanager
    def pair(self, name: str, orders: Orders) -> Iterator[Pair]:
        """A real server and a simulated one with the same orders."""
        real = RealServer(self.environment, self.model, orders, self.folder / f"{name}.log")
        try:
            say(f"vLLM ({name}) came up in {real.wait():.0f} s")
            like = {"hidden_size": tiny.WIDTH, "answer_tokens": 1e6}
            simulated = SimulatedServer(self.model, orders, self.catalogue(), **like)
            try:
                yield real, simulated
            finally:
                simulated.stop()
        finally:
            real.stop()


def rows(shop: Workshop) -> Iterator[Row]:
    """Everything that is compared, from one pair of servers after the other."""
    resolver = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": "lora_filesystem_resolver",
        "VLLM_LORA_RESOLVER_CACHE_DIR": str(shop.adapters),
    }
    drains = ("--shutdown-timeout", str(ending.DRAIN))
    with shop.pair("adapters", Orders((*NAMES, *ADAPTERS, *drains), resolver)) as pair:
        yield same_metrics(*pair, "before any request")
        yield from same_answers(*pair, str(shop.adapters))
        yield same_metrics(*pair, "after those")
        yield from same_findings(*pair, str(shop.adapters))
        yield from same_counts(*pair, shop.folder)
        yield from both("end", pair, ending.told_with_time)
    with shop.pair("limits", Orders((*NAMES, *limits.ORDERS.arguments))) as pair:
        yield from both("limits", pair, limits.observed)
        yield from both("end", pair, lambda server: ending.told(server, limits.HEADERS))
    with shop.pair("api-servers", Orders((*NAMES, "--api-server-count", "2"))) as pair:
        for server in pair:
            first_request(server, MODEL)
        yield same_metrics(*pair, "of two API servers")
        yield from both("end", pair, ending.engine_killed)


def both(area: str, pair: Pair, observe: Callable[[Server], dict[str, object]]) -> Iterator[Row]:
    """What was observed of each, compared."""
    real, simulated = pair
    yield from compared(area, observe(real), observe(simulated))


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.conformance", description=__doc__)
    parser.add_argument("--venv", type=Path, help="where vLLM is, or is to be, installed (the user's cache)")
    asked = parser.parse_args()
    environment = Environment(asked.venv.absolute()) if asked.venv else Environment.usual()
    environment.make(say)
    folder, found = Path(tempfile.mkdtemp(prefix="conformance-")), []
    say(f"logs are in {folder}")
    for row in rows(Workshop(environment, folder)):
        say(f"{row.area}, {row.what}: {'as vLLM' if row.agrees else row.found}")
        found.append(row)
    print("\n".join(lines(found)))
    shutil.rmtree(folder)
    return 0 if all(row.agrees for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
