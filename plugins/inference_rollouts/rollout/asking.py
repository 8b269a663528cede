"""Model servers, asked directly for as long as a warm-up may take."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from inference_rollouts.clients.model_server import ModelServers, Prompt
from inference_rollouts.core.errors import PassingError, RolloutError, WarmUpFailed
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer, Completion


@dataclass(frozen=True, slots=True)
class AskedServers:
    """ModelServers of which nothing is asked from `until` (`time.monotonic`) on: WarmUpFailed is raised then.

    A completion has until then; what else was asked before has the limits of the servers' client.
    """

    servers: ModelServers
    until: float

    def models(self, base_url: str) -> list[Served]:
        """As of ModelServers."""
        self._left()
        return self.servers.models(base_url)

    def version(self, base_url: str) -> str:
        """As of ModelServers."""
        self._left()
        return self.servers.version(base_url)

    def wants_key(self, base_url: str) -> bool:
        """As of ModelServers."""
        self._left()
        return self.servers.wants_key(base_url)

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        """As of ModelServers."""
        self._left()
        self.servers.load_adapter(base_url, name, path)

    def unload_adapter(self, base_url: str, name: str) -> None:
        """As of ModelServers."""
        self._left()
        self.servers.unload_adapter(base_url, name)

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        """As of ModelServers. Of a model that has several names servers answer by one, whichever is asked."""
        answer = self.servers.complete(base_url, model, prompt, max_tokens, min(timeout, self._left()))
        if isinstance(answer, Completion) and self._are_one(base_url, answer.model, model):
            return replace(answer, model=model)
        return answer

    def _are_one(self, base_url: str, name: object, other: str) -> bool:
        """Whether a server lists both as names of its base model."""
        if name == other:
            return True
        try:
            paths = {each.name: each.path for each in self.models(base_url) if each.parent is None}
        except (RolloutError, PassingError):
            return False
        return other in paths and paths[other] == paths.get(str(name))

    def _left(self) -> float:
        """Seconds."""
        if (left := self.until - time.monotonic()) <= 0:
            raise WarmUpFailed("The warm-up has not ended within deadlines.warm_up")
        return left
