"""What a plan says about the canary pool: its servers, its picker, and how it is tried before it serves."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.serving.adapters import Adapter, Lora
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.golden import Golden
from inference_rollouts.core.values import Model, Text


class Accelerator(Model):
    """What one replica needs of a node."""

    resource: Text = "nvidia.com/gpu"
    per_replica: Annotated[int, Field(ge=1, le=16)] = 1


class Workload(Model):
    """The new model server: what runs in the canary pool.

    `adapters` are LoRA adapters; `as-stable` takes over all that today's pods answer for, with their paths.
    """

    image: Text
    model: Text
    served_model_name: Text
    replicas: Annotated[int, Field(ge=1, le=1000)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    args: tuple[str, ...] = ()
    accelerator: Accelerator = Accelerator()
    adapters: tuple[Adapter, ...] | Literal["as-stable"] = "as-stable"
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [adapter.name for adapter in self.known_adapters]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"adapters names {', '.join(twice)} more than once")
        if taken := sorted(self.base_names & set(names)):
            raise ValueError(f"{', '.join(taken)} names both the model and an adapter")
        if any(vllm.flag_values(self.args, "--lora-modules")):
            raise ValueError("name adapters under workload.adapters, not with --lora-modules in args")
        if not all(rank.isdecimal() for rank in vllm.flag_values(self.args, "--max-lora-rank")):
            raise ValueError("--max-lora-rank in args is no number")
        return self

    @property
    def known_adapters(self) -> tuple[Adapter, ...]:
        """The adapters listed; none while nobody has looked what stable has."""
        return () if self.adapters == "as-stable" else self.adapters

    @property
    def base_names(self) -> set[str]:
        """The names under which the servers answer as the model itself."""
        return {self.served_model_name, *vllm.flag_values(self.args, "--served-model-name")}

    @property
    def max_lora_rank(self) -> int:
        """The largest rank of adapters that the servers take."""
        return vllm.max_lora_rank(self.args)

    @property
    def adapter_args(self) -> list[str]:
        """The arguments by which the servers take, and may load, the adapters."""
        if self.lora.load == "api":
            return ["--enable-lora"]
        modules = [(adapter.name, adapter.path) for adapter in self.known_adapters]
        return ["--enable-lora", *vllm.adapter_arguments(modules)] if modules else []

    @property
    def adapter_env(self) -> list[dict[str, Any]]:
        """The environment by which the servers load adapters at run time."""
        return vllm.runtime_adapters_env() if self.lora.load == "api" else []


class Picker(Model):
    """The endpoint picker that the canary pool gets."""

    image: Text
    failure_mode: Literal["FailOpen", "FailClose"] = "FailOpen"


class WarmUp(Model):
    """Completions sent to every pod of the canary, directly, before any weight leaves 0.

    A pod is warm when its last `steady` times to first token lie within `tolerance` (a ratio) of each other.
    Then it must answer the `golden` prompts as a pod of stable does.
    """

    prompts: tuple[str, ...] = (
        "Say hello.",
        "What is the capital of France?",
        "Summarize why the sky is blue in one sentence.",
    )
    max_tokens: Annotated[int, Field(ge=1, le=512)] = 16
    steady: Annotated[int, Field(ge=2, le=50)] = 5
    tolerance: Annotated[float, Field(gt=1, le=10)] = 2.0
    request_timeout: Seconds = 120.0
    golden: Annotated[tuple[Golden, ...], Field(max_length=50)] = ()
