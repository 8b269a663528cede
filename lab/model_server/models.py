"""The models a server answers for: the base under its names, and LoRA adapters loaded into it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue
from lab.model_server.options import Options
from lab.model_server.protocol import ProtocolError


@dataclass(slots=True)
class Loaded:
    """An adapter that is loaded. `path` is where it came from."""

    path: str
    adapter: Adapter


@dataclass(slots=True)
class Models:
    """Which names are served. `created` is a Unix time in seconds."""

    options: Options
    catalogue: Catalogue
    names: tuple[str, ...]
    max_model_len: int
    created: int
    adapters: dict[str, Loaded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, path in self.options.lora_modules:
            self.load(name, path)

    def resolve(self, name: str | None) -> tuple[str, Faults | None]:
        """The name to answer with and the adapter's own faults; 404 for a model not served."""
        if name is None or name in self.names:
            return name or self.names[0], None
        if name not in self.adapters and self.options.resolver:
            with suppress(ProtocolError):
                self.load(name, f"{self.options.resolver}/{name}")
        if loaded := self.adapters.get(name):
            return name, loaded.adapter.faults
        raise ProtocolError(f"The model `{name}` does not exist.", 404, "NotFoundError")

    def load(self, name: Any, path: Any, *, in_place: bool = False) -> None:
        """Load an adapter; ProtocolError with vLLM's statuses."""
        if not isinstance(name, str) or not isinstance(path, str) or not name or not path:
            raise ProtocolError("Both 'lora_name' and 'lora_path' must be provided.", 400, "InvalidUserInput")
        if name in self.adapters and not in_place:
            message = f"The lora adapter '{name}' has already been loaded."
            raise ProtocolError(message, 400, "InvalidUserInput")
        if not self.options.enable_lora:
            raise ProtocolError("LoRA is not enabled. Use `--enable-lora` to enable LoRA.")
        adapter = self.catalogue.adapter(path)
        if adapter is None:
            raise ProtocolError(
                f"Loading lora {name} failed: No adapter found for {path}", 404, "NotFoundError"
            )
        if adapter.rank > self.options.max_lora_rank:
            limit = self.options.max_lora_rank
            raise ProtocolError(f"LoRA rank {adapter.rank} is greater than max_lora_rank {limit}.")
        if adapter.base != self.options.model:
            raise ProtocolError(f"adapter '{name}' was made for {adapter.base}, not {self.options.model}")
        self.adapters[name] = Loaded(path, adapter)

    def unload(self, name: Any) -> None:
        """Forget an adapter; ProtocolError with vLLM's statuses."""
        if not isinstance(name, str) or not name:
            message = "either 'lora_name' and 'lora_int_id' needs to be provided."
            raise ProtocolError(message, 400, "InvalidUserInput")
        if self.adapters.pop(name, None) is None:
            raise ProtocolError(f"The lora adapter '{name}' cannot be found.", 404, "NotFoundError")

    def listing(self) -> dict[str, Any]:
        """The body of `/v1/models`."""
        cards = [self._card(name, self.options.model, None, self.max_model_len) for name in self.names]
        for name, loaded in self.adapters.items():
            cards.append(self._card(name, loaded.path, self.names[0], None))
        return {"object": "list", "data": cards}

    def _card(self, name: str, root: str, parent: str | None, max_model_len: int | None) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": "vllm",
            "root": root,
            "parent": parent,
            "max_model_len": max_model_len,
        }
