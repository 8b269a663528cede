"""The pipeline's own code, spoken through both servers: what it finds must be the same."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from bench.conformance.conversations import ALIAS, MODEL
from bench.conformance.servers import Server
from bench.conformance.table import Row, compared
from bench.stage import example
from inference_rollouts.clients.model_server import HttpModelServers, Prompt
from inference_rollouts.core.errors import PassingError, RolloutError
from inference_rollouts.core.serving.adapters import Adapter, Lora
from inference_rollouts.core.serving.golden import Golden, Message
from inference_rollouts.core.serving.warm_up import mistake
from inference_rollouts.rollout.asking import AskedServers
from inference_rollouts.rollout.serving import references, require_adapters, require_alike, require_names
from inference_rollouts.rollout.warm_up import Warming

CHAT = [{"role": "user", "content": "Say hello."}]
GOLDEN = (
    Golden(prompt="def main", max_tokens=8),
    Golden(messages=(Message(role="user", content="Say hello."),), max_tokens=8),
)
_FREE = re.compile(r"http://[^ /]+|\d+ ms")


def same_findings(real: Server, simulated: Server, adapters: str) -> Iterator[Row]:
    """Warm-up, golden prompts and adapters, as tasks of a rollout do them."""
    yield from compared("pipeline", _findings(real, adapters), _findings(simulated, adapters))


def _findings(server: Server, adapters: str) -> dict[str, object]:
    servers, url, how = HttpModelServers(), server.url, example("llm").warm_up

    def ask(model: str, prompt: Prompt) -> str | None:
        return mistake(servers.complete(url, model, prompt, 8, 120.0), model)

    def warm() -> list[str]:
        asked = AskedServers(servers, time.monotonic() + example("llm").deadlines.warm_up)
        return list(Warming(asked, {"pod": url}, MODEL, how, lambda *_: None).warm())

    def load(name: str, folder: str) -> Callable[[], object]:
        return lambda: servers.load_adapter(url, name, f"{adapters}/{folder}")

    def alike() -> None:
        golden = how.model_copy(update={"golden": GOLDEN})
        answers = references(servers, "pod", url, MODEL, golden)
        require_alike(servers, "pod", url, MODEL, golden, answers)

    def adapters_of(folder: str) -> Callable[[], object]:
        adapter = Adapter(name="listed", path=f"{adapters}/{folder}")
        work = example("llm").as_pool_plan.workload.model_copy(
            update={"adapters": (adapter,), "lora": Lora(load="api")}
        )
        return lambda: require_adapters(servers, "pod", url, work, how)

    steps: dict[str, Callable[[], object]] = {
        "names that are served": lambda: [(each.name, each.parent) for each in servers.models(url)],
        "a completion": lambda: ask(MODEL, "def main"),
        "a chat": lambda: ask(MODEL, CHAT),
        "a completion by the second name": lambda: ask(ALIAS, "def main"),
        "a model that is not there": lambda: ask("nobody", "x"),
        "warm-up until the first token is steady": warm,
        "golden prompts against itself": alike,
        "every name is answered for": lambda: require_names(servers, "pod", url, {MODEL: "a", ALIAS: "b"}),
        "a name that is missing": lambda: require_names(servers, "pod", url, {"nobody": "a"}),
        "an adapter is loaded": load("mine", "fits"),
        "it is loaded already": load("mine", "fits"),
        "its name is taken": load("mine", "fits-too"),
        "an adapter of another rank": load("wide", "rank-64"),
        "an adapter that is nowhere": load("lost", "nowhere"),
        "a completion as the adapter": lambda: ask("mine", "def main"),
        "an adapter is unloaded": lambda: servers.unload_adapter(url, "mine"),
        "it is unloaded already": lambda: servers.unload_adapter(url, "mine"),
        "adapters of a workload, loaded by the API": adapters_of("fits"),
        "the same from another path": adapters_of("fits-too"),
        "one that does not fit": adapters_of("other-width"),
    }
    return {what: _outcome(step, adapters) for what, step in steps.items()}


def _outcome(step: Callable[[], object], adapters: str) -> object:
    """What a step comes to: its value, or what it says when it fails."""
    try:
        return step()
    except (RolloutError, PassingError) as error:
        said = _FREE.sub("...", str(error).replace(adapters, "FOLDER"))
        return f"{type(error).__name__}: {said}"
