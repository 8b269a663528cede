"""The models a server answers for: the base under its names, and LoRA adapters loaded into it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from lab.model_server.errors import ProtocolError, internal, not_found
from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue, Image
from lab.model_server.options import Options

# Those of a Llama that vLLM puts adapters on.
MODULES = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    *("embed_tokens", "lm_head"),
)


@dataclass(slots=True)
class Loaded:
    """An adapter that is loaded. `path` is where it came from."""

    path: str
    adapter: Adapter


@dataclass(slots=True)
class Models:
    """Which names are served by a server of `image`; answers carry the first of the base model's `names`."""

    options: Options
    catalogue: Catalogue
    image: Image
    names: tuple[str, ...]
    adapters: dict[str, Loaded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, path in self.options.lora_modules:
            self.load(name, path)

    def resolve(self, name: str | None) -> tuple[str, Faults | None]:
        """The name to answer with and the adapter's own faults; 404 for a model not served.

        None and the empty name are the base model.
        """
        if not name or name in self.names:
            return self.names[0], None
        if name not in self.adapters and self.options.resolver:
            self._look_up(name)
        if loaded := self.adapters.get(name):
            return name, loaded.adapter.faults
        aliases = ", ".join(self.names)
        raise not_found(f"The model `{name}` does not exist. Valid aliases: {aliases}.", "model")

    def _look_up(self, name: str) -> None:
        """The filesystem resolver: it takes only what was made for the very `--model`."""
        path = f"{self.options.resolver}/{name}"
        adapter = self.catalogue.adapter(path)
        if adapter is None or adapter.base != self.options.model:
            return
        if self._misfit(path, adapter):
            raise ProtocolError(f"LoRA adapter '{name}' was found but could not be loaded.")
        self.adapters[name] = Loaded(path, adapter)

    def load(self, name: str, path: str, *, in_place: bool = False) -> None:
        """Load an adapter; ProtocolError with vLLM's statuses. Whose base it was made for is not asked."""
        if not name or not path:
            raise _bad_input("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.names:
            raise _bad_input(f"The lora adapter '{name}' conflicts with a served base model.")
        if name in self.adapters and not in_place:
            raise _bad_input(
                f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in "
                "place, set 'load_inplace' to True."
            )
        adapter = self.catalogue.adapter(path)
        if adapter is None:
            raise not_found(f"Loading lora {name} failed: No adapter found for {path}")
        if why := self._misfit(path, adapter):
            raise internal(
                f"Call to add_lora method failed: Worker failed with error '{why}', please check the stack "
                "trace above for the root cause"
            )
        self.adapters[name] = Loaded(path, adapter)

    def _misfit(self, path: str, adapter: Adapter) -> str:
        """Why a worker cannot load an adapter; empty if it can."""
        width, most = self.image.hidden_size, self.options.max_lora_rank
        strange = [module for module in adapter.modules if module.rpartition(".")[2] not in MODULES]
        reasons = {
            "LoRA is not enabled. Use --enable-lora to enable LoRA.": not self.options.enable_lora,
            f"LoRA rank {adapter.rank} is greater than max_lora_rank {most}.": adapter.rank > most,
            "vLLM does not yet support DoRA.": adapter.dora,
            f"{path} doesn't contain tensors": not adapter.weights,
            (
                f"While loading {path}, expected target modules in {set(MODULES)} but received {strange}. "
                "Please verify that the loaded LoRA module is correct"
            ): strange,
            (
                f"The size of tensor a ({width}) must match the size of tensor b ({adapter.hidden_size}) at "
                "non-singleton dimension 1"
            ): adapter.hidden_size != width,
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def unload(self, name: str) -> None:
        """Forget an adapter; ProtocolError with vLLM's statuses."""
        if not name:
            raise _bad_input("'lora_name' needs to be provided to unload a LoRA adapter.")
        if self.adapters.pop(name, None) is None:
            raise not_found(f"The lora adapter '{name}' cannot be found.")

    def listing(self) -> dict[str, Any]:
        """The body of `/v1/models`."""
        cards = [_card(name, self.options.model, None, self.image.max_model_len) for name in self.names]
        for name, loaded in self.adapters.items():
            cards.append(_card(name, loaded.path, self.names[0], None))
        return {"object": "list", "data": cards}


def _bad_input(message: str) -> ProtocolError:
    return ProtocolError(message, 400, "InvalidUserInput")


def _card(name: str, root: str, parent: str | None, max_model_len: int | None) -> dict[str, Any]:
    created = int(time.time())
    permission = {
        "id": f"modelperm-{uuid4().hex[:16]}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [permission],
    }
