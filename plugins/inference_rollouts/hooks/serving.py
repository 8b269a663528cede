"""What has to be true of a new pool's model servers beside being warm, before it serves.

Servers are given as base URLs by the names of their pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from inference_rollouts.core.adapters import Adapter, Seen, nameable
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.golden import Golden, findings
from inference_rollouts.core.plan import PoolPlan
from inference_rollouts.core.warmup import Answer, mistake
from inference_rollouts.hooks.model_server import (
    ServerRefused,
    complete,
    load_adapter,
    models,
    unload_adapter,
)

AT_ONCE = 16  # servers spoken to at the same time

T = TypeVar("T")
Servers = Mapping[str, str]


def on_each(servers: Servers, act: Callable[[str, str], T]) -> dict[str, T]:
    """What `act` says of each pod and its URL, some at a time; raises the first error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(servers, pool.map(act, servers, servers.values()), strict=True))


def seen_by(servers: Servers) -> Seen:
    """What each pod answers for now."""
    return on_each(servers, lambda _, url: models(url))


@dataclass(frozen=True, slots=True)
class Trial:
    """What each new server must do: answer for all `names` of stable, and as its `references` do.

    `names` come with a word on who answers for them today, `references` in the order of the golden prompts.
    """

    plan: PoolPlan
    names: Mapping[str, str]
    references: tuple[Answer, ...]

    @classmethod
    def beside(cls, plan: PoolPlan, stable: Servers) -> Trial:
        """Beside these servers. Raises WarmUpFailed when the first is wrong about a golden prompt itself."""
        names = nameable(seen_by(stable), {})
        pod, url = next(iter(stable.items()))
        answers = []
        for golden in plan.warm_up.golden:
            answers.append(_ask(url, golden, plan))
            if wrong := mistake(answers[-1], plan.workload.served_model_name):
                raise WarmUpFailed(f"Nothing to compare {golden} with: pod {pod} of {plan.stable} {wrong}")
        return cls(plan, names, tuple(answers))

    def require(self, pod: str, url: str) -> None:
        """Try one server. Raises WarmUpFailed, a phrase that names the pod and all that is wrong."""
        self._require_adapters(pod, url)
        listed = {served.name for served in models(url)}
        if lacking := [f"{name} ({who})" for name, who in sorted(self.names.items()) if name not in listed]:
            raise WarmUpFailed(f"Pod {pod} does not answer for {', '.join(lacking)}")
        if found := list(self._findings(url)):
            raise WarmUpFailed(f"Pod {pod} fails {'; '.join(found)}")

    def _require_adapters(self, pod: str, url: str) -> None:
        work, how = self.plan.workload, self.plan.warm_up
        listed = {served.name: served.path for served in models(url)}
        for adapter in work.known_adapters:
            if work.lora.load == "api":
                _load(pod, url, adapter, listed.get(adapter.name))
            elif adapter.name not in listed:
                raise WarmUpFailed(f"Pod {pod} does not list adapter {adapter.name}, as it was told to")
            answer = complete(url, adapter.name, how.prompts[0], how.max_tokens, how.request_timeout)
            if wrong := mistake(answer, adapter.name):
                raise WarmUpFailed(f"Pod {pod}, asked for adapter {adapter.name}, {wrong}")

    def _findings(self, url: str) -> Iterator[str]:
        model = self.plan.workload.served_model_name
        for golden, reference in zip(self.plan.warm_up.golden, self.references, strict=True):
            for phrase in findings(golden, _ask(url, golden, self.plan), model, reference):
                yield f"{golden}: it {phrase}"


def _ask(url: str, golden: Golden, plan: PoolPlan) -> Answer:
    timeout = plan.warm_up.request_timeout
    return complete(url, plan.workload.served_model_name, golden.question, golden.max_tokens, timeout)


def _load(pod: str, url: str, adapter: Adapter, present: str | None) -> None:
    """By the runtime API. What a former run loaded from elsewhere under that name goes first."""
    try:
        if present not in (None, adapter.path):
            unload_adapter(url, adapter.name)
        load_adapter(url, adapter.name, adapter.path)
    except ServerRefused as error:
        raise WarmUpFailed(
            f"Pod {pod} cannot load adapter {adapter.name} from {adapter.path}: it says {error}"
        ) from error
