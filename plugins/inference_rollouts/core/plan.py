"""A rollout as data: the plan file, and the few parameters that people change per run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .durations import Seconds
from .errors import PlanInvalid
from .judge_policy import Policy, StepContext
from .metrics import Arm

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$", description="a Kubernetes name")]
Text = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s\x00-\x1f]+$")]
T = TypeVar("T", bound=BaseModel)
Percent = Annotated[int, Field(ge=1, le=100)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kind(StrEnum):
    """What is new under the traffic."""

    BASE_MODEL = "base-model"


class Connections(Model):
    """Airflow connection ids."""

    kubernetes: str = "kubernetes_default"
    prometheus: str = "prometheus_default"


class RouteRef(Model):
    """The HTTPRoute to move; gateway and rule only where the route has several."""

    name: Name
    gateway: Name | None = None
    rule: str | None = None


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


class Nodes(Model):
    """Where the canary runs. `existing` waits for Ready nodes with free accelerators."""

    provisioner: Literal["existing"] = "existing"
    selector: dict[str, str]


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


class Step(Model):
    """One weight increase: the canary's share in %, and how long it must look good there."""

    weight: Percent
    bake: Seconds


class Deadlines(Model):
    """How long each phase may take before the rollout gives up and rolls back."""

    nodes: Seconds = 1800.0
    ready: Seconds = 2400.0
    warm_up: Seconds = 600.0
    route: Seconds = 300.0


class Schedule(Model):
    """When the DAG runs by itself: a cron expression in a time zone."""

    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$|^@\w+$")]
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is not a time zone; use a name such as Europe/Berlin") from error
        return name


class Plan(Model):
    """What a rollout is. See include/rollouts/ for commented examples.

    After each shift `settle` is not judged: weights spread, slow requests finish late, caches are cold.
    """

    name: Name
    description: str = ""
    kind: Kind = Kind.BASE_MODEL
    namespace: Name = "default"
    connections: Connections = Connections()
    route: RouteRef
    stable: Name
    canary: Name
    workload: Workload
    picker: Picker
    nodes: Nodes
    warm_up: WarmUp = WarmUp()
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)]
    metrics: Name = "vllm"
    settle: Seconds = 30.0
    analysis: Policy = Policy()
    deadlines: Deadlines = Deadlines()
    schedule: Schedule | None = None
    records: str | None = Field(
        None, description="where decision records go as JSON lines: any URL of Airflow's object storage"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stable == self.canary:
            raise ValueError(
                f"stable and canary are both {self.stable!r}; the canary needs a name of its own"
            )
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)) or weights[-1] != 100:
            raise ValueError(f"weights {weights} must rise step by step and end at 100")
        if self.analysis.on_timeout == "ask":
            raise ValueError("analysis.on_timeout may be rollback or advance: nobody is asked yet")
        return self

    @property
    def dag_id(self) -> str:
        return dag_id_of(self.name)

    @property
    def accelerators_needed(self) -> int:
        return self.workload.replicas * self.workload.accelerator.per_replica

    def pod_labels(self, pool: str) -> dict[str, str]:
        """The label that selects a pool's pods and that Prometheus keeps as `inference_pool`."""
        return {"inference-pool": pool}

    def arm(self, pool: str) -> Arm:
        """The series of a pool in Prometheus."""
        return Arm("inference_pool", pool, self.namespace)

    def step_context(self, index: int, since: float) -> StepContext:
        """What the judge is told of step `index` (from 1), whose weight was set at Unix time `since`."""
        weights = [step.weight for step in self.steps]
        bake = self.steps[index - 1].bake
        return StepContext.of(weights, index, started_at=since, settle=self.settle, bake=bake)


class Parameters(Model):
    """What one run may change of its plan; None keeps the plan's own value."""

    stable: Name | None = None
    canary: Name | None = None
    image: Text | None = None
    model: Text | None = None
    weights: Annotated[tuple[Percent, ...], Field(min_length=1)] | None = None
    bake: Seconds | None = None


def dag_id_of(name: str) -> str:
    """The id of a plan's DAG: `rollout_` and the name, with what a DAG id may not hold replaced."""
    return "rollout_" + re.sub(r"[^a-z0-9]", "_", name.lower())


def parse_plan(value: Any) -> Plan:
    """A plan from parsed YAML; raises PlanInvalid with one line per mistake."""
    return _validated(Plan, value, "The plan is invalid")


def apply_parameters(plan: Plan, params: Mapping[str, Any]) -> Plan:
    """The plan of one run. Raises PlanInvalid when the parameters, or the result, are not valid.

    Given weights replace the plan's; each keeps the bake time of the plan's step at its place. A run may
    use fewer steps than its plan has, since the DAG has as many as the plan, but not more.
    """
    given = _validated(Parameters, dict(params), "The parameters are invalid")
    if given.weights and len(given.weights) > len(plan.steps):
        raise PlanInvalid(
            f"The parameters are invalid: weights has {len(given.weights)} steps, "
            f"this plan's DAG has {len(plan.steps)}; add steps to the plan."
        )
    weights = given.weights or tuple(step.weight for step in plan.steps)
    steps = [
        {"weight": weight, "bake": step.bake if given.bake is None else given.bake}
        for weight, step in zip(weights, plan.steps, strict=False)
    ]
    value = plan.model_dump(mode="json") | {"steps": steps}
    value |= {key: got for key in ("stable", "canary") if (got := getattr(given, key))}
    value["workload"] |= {key: got for key in ("image", "model") if (got := getattr(given, key))}
    return _validated(Plan, value, "The parameters are invalid")


def manifest_values(plan: Plan) -> dict[str, Any]:
    """The values that manifest templates may name."""
    work = plan.workload
    return {
        "namespace": plan.namespace,
        "pool": plan.canary,
        "picker": f"{plan.canary}-epp",
        "picker_image": plan.picker.image,
        "failure_mode": plan.picker.failure_mode,
        "image": work.image,
        "model": work.model,
        "served_model_name": work.served_model_name,
        "replicas": work.replicas,
        "port": work.port,
        "args": list(work.args),
        "node_selector": dict(plan.nodes.selector),
        "accelerators": {work.accelerator.resource: str(work.accelerator.per_replica)},
        "ready_deadline": int(plan.deadlines.ready),
    }


def _validated(model: type[T], value: Any, what: str) -> T:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise PlanInvalid(f"{what}: {'; '.join(map(_mistake, error.errors()))}.") from error


def _mistake(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("value_error", "missing") else f" (given {str(error['input'])[:80]!r})"
    return f"{where}: {message}{given}" if where else message
