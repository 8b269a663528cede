"""What a plan says about the canary pool: its servers, its picker, and how it is tried before it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.serving.adapters import Adapter, Lora
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.golden import Golden
from inference_rollouts.core.values import Model, Text

AS_STABLE = "as-stable"
"""A field that is left as it is on stable, where the workload is like stable's."""
LIKE_STABLE = "like-stable"
"""As a plan's `workload`: stable's own, and nothing changed."""


class Accelerator(Model):
    """What one replica needs of a node."""

    resource: Text = "nvidia.com/gpu"
    """The extended resource that pods ask for. Default: what NVIDIA's device plugin offers."""
    per_replica: Annotated[int, Field(ge=1, le=16)] = 1
    """How many of them one replica takes."""


class Workload(Model):
    """The new model server: what runs in the canary pool.

    With `like: stable` it is stable's own, and what is left out is as it is there.
    """

    like: Literal["template", "stable"] = "template"
    """What it is made of: the templates of include/manifests (`template`), or pool, workloads and endpoint
    picker of stable (`stable`). Default: `template`."""
    image: Text = AS_STABLE
    """The server's container image."""
    model: Text = AS_STABLE
    """The model that the server loads: a name on a hub, or a path in the container."""
    served_model_name: Text = AS_STABLE
    """What clients ask for; stays as it is in every rollout."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many pods, or groups of a LeaderWorkerSet, the canary gets; 0: as many as stable has. They must
    carry all requests in the end."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """The port on which a server answers. Default: vLLM's; with `like: stable`, its pool's."""
    args: tuple[str, ...] = ()
    """Further arguments of the server; with `like: stable` they take the place of the same flags there.
    Adapters do not belong here but under `adapters`."""
    accelerator: Accelerator = Accelerator()
    """The accelerators of one replica. Default: one of NVIDIA's; with `like: stable`, as there."""
    adapters: tuple[Adapter, ...] | Literal["as-stable"] = "as-stable"
    """LoRA adapters that the new servers answer for. Default: `as-stable`, all that today's pods answer for,
    with their paths, so that no client loses a name."""
    lora: Lora = Lora()
    """How the new servers take adapters."""

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, value: Any) -> Any:
        """`like-stable` is all as on stable."""
        if value == LIKE_STABLE:
            value = {"like": "stable"}
        if isinstance(value, Mapping) and value.get("like") == "stable":
            return {"accelerator": {"resource": AS_STABLE}, **value}
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.like == "template":
            names = ("image", "model", "served_model_name", "replicas")
            if lacking := [name for name in names if getattr(self, name) in (AS_STABLE, 0)]:
                raise ValueError(f"{', '.join(lacking)}: needed, unless the workload is `like: stable`")
        return self

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
        """The adapters listed; none before preflight has read what stable has."""
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

    image: Text = AS_STABLE
    """The picker's container image. With a workload `like: stable` the picker is a copy of stable's, and
    this may be left out."""
    failure_mode: Literal["FailOpen", "FailClose"] = "FailOpen"
    """What the gateway does while the picker does not answer: choose a pod itself (`FailOpen`), or refuse
    requests. Default: `FailOpen`, as an uneven load is better than an outage."""


class WarmUp(Model):
    """Completions sent to every pod of the canary, directly, before any weight leaves 0.

    A pod is warm when its last `steady` times to first token lie within `tolerance` (a ratio) of each other.
    Then it must answer the `golden` prompts as a pod of stable does.
    """

    prompts: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "Say hello.",
        "What is the capital of France?",
        "Summarize why the sky is blue in one sentence.",
    )
    """What is asked, in turn, until the pod is warm. Default: three short ones of different lengths."""
    max_tokens: Annotated[int, Field(ge=1, le=512)] = 16
    """The longest answer to a prompt, in tokens. Default: few, as only the first token's time is measured."""
    steady: Annotated[int, Field(ge=2, le=50)] = 5
    """How many of the last times to first token must lie close together. Default: 5, so that one fast answer
    is no proof."""
    tolerance: Annotated[float, Field(gt=1, le=10)] = 2.0
    """The largest of them over the smallest; differences below 50 ms do not count. Default: 2, as a cold
    server is slower by far more."""
    request_timeout: Seconds = 120.0
    """How long one answer may take. Default: 2m, for a first request that compiles or loads."""
    golden: Annotated[tuple[Golden, ...], Field(max_length=50)] = ()
    """Prompts that every new pod must answer as a pod of stable does. Default: none."""
