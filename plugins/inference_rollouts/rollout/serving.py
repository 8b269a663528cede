"""What has to be true of a new pool's model servers beside being warm, before it serves.

`urls` are base URLs by the names of the pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from inference_rollouts.core.errors import ClusterRefused, ServerRefused, ServerUnavailable, WarmUpFailed
from inference_rollouts.core.limits import ANSWER_ATTEMPTS, SERVERS_AT_ONCE
from inference_rollouts.core.plan.workload import WarmUp, Workload
from inference_rollouts.core.serving.adapters import Adapter, Seen, Served
from inference_rollouts.core.serving.client_view import (
    ACCESS,
    CLIENTS,
    CONTEXT,
    other_access,
    shorter_context,
)
from inference_rollouts.core.serving.golden import findings
from inference_rollouts.core.serving.warm_up import Answer, Completion, mistake

if TYPE_CHECKING:  # a client is used by few who may
    from inference_rollouts.clients.model_server import ModelServers, Prompt

GIVE_KEY = (
    "if the servers want an API key, name a connection that has it as password in `connections.model_servers`"
)

T = TypeVar("T")
Urls = Mapping[str, str]


def on_each(urls: Urls, act: Callable[[str, str], T]) -> dict[str, T]:
    """What `act` says of each pod and its URL, some at a time; raises the first error."""
    with ThreadPoolExecutor(SERVERS_AT_ONCE) as pool:
        return dict(zip(urls, pool.map(act, urls, urls.values()), strict=True))


def seen_by(servers: ModelServers, urls: Urls) -> Seen:
    """What each pod answers for now. Raises ClusterRefused when one refuses to say.

    ServerUnavailable when one does not answer.
    """
    return on_each(urls, lambda pod, url: listed(servers, pod, url))


def versions(servers: ModelServers, urls: Urls) -> dict[str, str]:
    """What each pod says of its version; `unknown` where it does not answer that."""

    def ask(pod: str, url: str) -> str:
        try:
            return servers.version(url) or "unknown"
        except ServerUnavailable:
            return "unknown"

    return on_each(urls, ask)


def listed(servers: ModelServers, pod: str, url: str) -> list[Served]:
    """What one pod answers for now. Raises as `seen_by`."""
    try:
        return servers.models(url)
    except ServerRefused as error:
        todo = f"; {GIVE_KEY}" if error.status in (401, 403) else ""
        raise ClusterRefused(
            f"Pod {pod} does not list what it answers for: /v1/models is {error}{todo}."
        ) from error
    except ServerUnavailable as error:
        raise ServerUnavailable(f"Pod {pod} does not list what it answers for: {error}.") from error


def references(servers: ModelServers, pod: str, url: str, model: str, how: WarmUp) -> tuple[Completion, ...]:
    """What a server of today says to the golden prompts. Raises WarmUpFailed when it is wrong itself."""
    answers = []
    for each in how.golden:
        answer = _ask(servers, url, model, each.question, each.max_tokens, how)
        match answer, mistake(answer, model):
            case Completion() as completion, None:
                answers.append(completion)
            case _, wrong:
                raise WarmUpFailed(f"Nothing to compare {each} with: pod {pod}, as {model}, {wrong}")
    return tuple(answers)


def require_alike(
    servers: ModelServers, pod: str, url: str, model: str, how: WarmUp, answers: Sequence[Completion]
) -> None:
    """A server answers the golden prompts as these `answers`. Raises WarmUpFailed with every finding."""
    differences = [
        f"{each}: it {phrase}"
        for each, answer in zip(how.golden, answers, strict=True)
        for phrase in findings(
            each, _ask(servers, url, model, each.question, each.max_tokens, how), model, answer
        )
    ]
    if differences:
        raise WarmUpFailed(f"Pod {pod} fails {'; '.join(differences)}")


def require_adapters(servers: ModelServers, pod: str, url: str, work: Workload, how: WarmUp) -> None:
    """A server has every adapter, loaded by itself or now, and answers. Raises WarmUpFailed with its name."""
    known = {served.name: served.path for served in listed(servers, pod, url)}
    for adapter in work.known_adapters:
        if work.lora.load == "api":
            _load(servers, pod, url, adapter, known.get(adapter.name))
        elif adapter.name not in known:
            raise WarmUpFailed(f"Pod {pod} does not list adapter {adapter.name}, as its arguments say")
        answer = _ask(servers, url, adapter.name, how.prompts[0], how.max_tokens, how)
        if wrong := mistake(answer, adapter.name):
            raise WarmUpFailed(f"Pod {pod}, asked for adapter {adapter.name}, {wrong}")


def require_names(servers: ModelServers, pod: str, url: str, names: Mapping[str, str]) -> None:
    """A server lists all `names`, which come with who answers for them. Raises WarmUpFailed."""
    known = {served.name for served in listed(servers, pod, url)}
    if lacking := [f"{name} ({who})" for name, who in sorted(names.items()) if name not in known]:
        raise WarmUpFailed(f"Pod {pod} does not answer for {', '.join(lacking)}")


def require_context(servers: ModelServers, pod: str, url: str, today: Sequence[Served]) -> None:
    """A server takes texts as long as those of `today` do. Raises WarmUpFailed."""
    if shorter := shorter_context(today, listed(servers, pod, url)):
        raise WarmUpFailed(
            f"Pod {pod} {shorter}; if that is meant, say `accept_differences: [{CLIENTS}.{CONTEXT}]` in the "
            "plan"
        )


def require_access(servers: ModelServers, pod: str, url: str, *, keyed: bool) -> None:
    """A server wants an API key if those of today do, which are `keyed`. Raises WarmUpFailed."""
    if other := other_access(keyed, servers.wants_key(url)):
        raise WarmUpFailed(
            f"Pod {pod} {other}; if that is meant, say `accept_differences: [{CLIENTS}.{ACCESS}]` in the plan"
        )


def _ask(servers: ModelServers, url: str, model: str, prompt: Prompt, max_tokens: int, how: WarmUp) -> Answer:
    """An answer, after a few failures that may pass. How often servers fail is for the judge to count."""
    for _ in range(ANSWER_ATTEMPTS):
        answer = servers.complete(url, model, prompt, max_tokens, how.request_timeout)
        if isinstance(answer, Completion) or not answer.passing:
            break
    return answer


def _load(servers: ModelServers, pod: str, url: str, adapter: Adapter, present: str | None) -> None:
    """By the runtime API. What a former run loaded from elsewhere under that name goes first."""
    try:
        if present not in (None, adapter.path):
            servers.unload_adapter(url, adapter.name)
        servers.load_adapter(url, adapter.name, adapter.path)
    except ServerRefused as error:
        raise WarmUpFailed(
            f"Pod {pod} cannot load adapter {adapter.name} from {adapter.path}: it says {error}"
        ) from error
