"""What a plan says about the canary pool: its servers, its picker, and how it is tried before it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .durations import Seconds
from .fields import Model, Text


class Accelerator(Model):
    """What one replica needs of a node."""

    resource: Text = "nvidia.com/gpu"
    per_replica: Annotated[int, Field(ge=1, le=16)] = 1


class Workload(Model):
    """The new model server: what runs in the canary pool."""

    image: Text
    model: Text
    served_model_name: Text
    replicas: Annotated[int, Field(ge=1, le=1000)]
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    args: tuple[str, ...] = ()
    accelerator: Accelerator = Accelerator()


class Picker(Model):
    """The endpoint picker that the canary pool gets."""

    image: Text
    failure_mode: Literal["FailOpen", "FailClose"] = "FailOpen"


class WarmUp(Model):
    """Completions sent to every pod of the canary, directly, before any weight leaves 0.

    A pod is warm when its last `steady` times to first token lie within `tolerance` (a ratio) of each other.
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
