"""Model servers in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from inference_rollouts.clients.model_server import Prompt
from inference_rollouts.core.errors import ServerRefused
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer, Completion, Failure

BASE, MODEL = "llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"
FIRST = {"food-review-1": "/adapters/food-review-1"}


@dataclass
class FakeServers:
    """Every server answers well and at once for its model, and for the adapters that it has loaded.

    `loaded` says which, by URL: name -> path; `first` what each was started with. `refusing` are the refusals
    of some that load none; `lacking` are paths where nobody finds an adapter. `mute` names get no answer.
    `keyed` servers, by their URLs, want a key of clients. `lazy` ones have a resolver: they load any adapter
    when they are first asked for it. `heard` is called with the name of each request before it is answered.
    `answered` counts completions by URL.
    """

    first: Mapping[str, str] = field(default_factory=dict)
    models_of_all: list[Served] = field(default_factory=lambda: [Served(BASE, MODEL)])
    loaded: dict[str, dict[str, str]] = field(default_factory=dict)
    refusing: dict[str, ServerRefused] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    unloaded: list[tuple[str, str]] = field(default_factory=list)
    mute: set[str] = field(default_factory=set)
    keyed: set[str] = field(default_factory=set)
    lazy: bool = False
    heard: Callable[[str], None] = lambda verb: None
    answered: Counter[str] = field(default_factory=Counter)

    def on(self, url: str) -> dict[str, str]:
        """The adapters of one server."""
        return self.loaded.setdefault(url, dict(self.first))

    def models(self, base_url: str) -> list[Served]:
        self.heard("models")
        adapters = self.on(base_url).items()
        return [*self.models_of_all, *(Served(name, path, BASE) for name, path in adapters)]

    def version(self, base_url: str) -> str:
        return ""

    def wants_key(self, base_url: str) -> bool:
        return base_url in self.keyed

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        self.heard("load_adapter")
        if base_url in self.refusing:
            raise self.refusing[base_url]
        if path in self.lacking:
            raise ServerRefused(404, f"No adapter found for {path}")
        self.on(base_url)[name] = path

    def unload_adapter(self, base_url: str, name: str) -> None:
        self.heard("unload_adapter")
        self.unloaded.append((base_url, name))
        self.on(base_url).pop(name, None)

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        self.heard("complete")
        if self.lazy:
            self.on(base_url).setdefault(model, f"/adapters/{model}")
        if model in self.mute or model not in {served.name for served in self.models(base_url)}:
            return Failure(404, f"The model `{model}` does not exist.")
        self.answered[base_url] += 1
        return Completion(model, "Good.", "stop", prompt_tokens=3, completion_tokens=2, ttft=0.1)
