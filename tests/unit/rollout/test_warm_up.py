"""A warm-up ends by its deadline, whatever the servers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from inference_rollouts.clients.model_server import Prompt
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer, Completion, Failure, mistake
from inference_rollouts.rollout.asking import AskedServers
from inference_rollouts.rollout.run import Run
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_servers import BASE, FIRST, MODEL, FakeServers
from tests.support.freezing import run_on
from tests.support.plans import CANARY, llm
from tests.support.stopwatch import ends_within

LIMIT = 1.0
NUMBERS = count()
GOLDEN = [{"prompt": f"{number} + 2?"} for number in range(50)]


@dataclass
class ScriptedServers(FakeServers):
    """They say to a prompt, and the seconds that they have, what a test wants."""

    say: Callable[[str, float], Answer | None] = lambda prompt, timeout: None

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        said = self.say(str(prompt), timeout)
        return said or super().complete(base_url, model, prompt, max_tokens, timeout)


def run_with(servers: FakeServers, **warm_up: Any) -> Run:
    """A run whose canary is there, to be warmed up within the limit."""
    cluster = FakeCluster()
    run = run_on(cluster, servers=servers, warm_up=warm_up, deadlines={"warm_up": LIMIT})
    cluster.put_pool(CANARY, llm()["workload"]["replicas"])
    return run


def never(prompt: str, timeout: float) -> Answer | None:
    """A server that lets its clients wait."""
    threading.Event().wait(timeout)
    return Failure(0, f"no whole answer within {timeout:g} s")


def never_to_golden_prompts(prompt: str, timeout: float) -> Answer | None:
    return never(prompt, timeout) if prompt.endswith("+ 2?") else None


def ever_slower(prompt: str, timeout: float) -> Answer | None:
    """A server that never becomes steady."""
    threading.Event().wait(LIMIT / 40)
    return Completion(BASE, "Good.", "stop", 3, 2, 3.0 ** next(NUMBERS))


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (never, "was not steady in time (last first tokens none)"),
        (ever_slower, "was not steady in time (last first tokens"),
        (never_to_golden_prompts, "The warm-up has not ended within deadlines.warm_up"),
    ],
)
def test_a_warm_up_ends_by_its_deadline(say: Callable[[str, float], Answer | None], words: str) -> None:
    run = run_with(ScriptedServers(say=say), golden=GOLDEN)
    with ends_within(6 * LIMIT), pytest.raises(WarmUpFailed) as caught:
        run.kind.warm_up(run)
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"; no traffic was moved to {CANARY}.")


def test_servers_are_asked_nothing_any_more_when_the_time_is_over() -> None:
    heard: list[str] = []
    servers = AskedServers(FakeServers(heard=heard.append), until=time.monotonic())
    asked: list[Callable[[], object]] = [
        lambda: servers.models("http://a"),
        lambda: servers.load_adapter("http://a", "sql", "/adapters/sql"),
        lambda: servers.unload_adapter("http://a", "sql"),
        lambda: servers.complete("http://a", BASE, "hi", 4, 20),
    ]
    for ask in asked:
        with pytest.raises(WarmUpFailed, match=r"has not ended within deadlines\.warm_up"):
            ask()
    assert heard == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("llama-alias", None),
        ("llama-other", "instead of"),
        ("food-review-1", "instead of"),
        ("gone", "instead of"),
    ],
)
def test_a_model_of_several_names_may_answer_by_any(name: str, words: str | None) -> None:
    """Servers list them with one path, and answer by the first; other models and adapters are others."""
    servers = ScriptedServers(first=FIRST, say=lambda *_: Completion(name, "Good.", "stop", 3, 2, ttft=0.1))
    servers.models_of_all += [Served("llama-alias", MODEL), Served("llama-other", "/other")]
    answer = AskedServers(servers, time.monotonic() + 60).complete("http://pod", BASE, "Say hello.", 8, 1.0)
    said = mistake(answer, BASE)
    assert said is None if words is None else words in (said or "")
