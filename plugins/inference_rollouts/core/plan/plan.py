"""A rollout as data: the plan file. One format, three kinds of rollout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.metrics import Arm, MetricName
from inference_rollouts.core.judging.policy import Policy, Step, StepContext
from inference_rollouts.core.nodes.provisioners import NODE_POOL_NAME, ComputeClass, NodePool, Nodes
from inference_rollouts.core.plan.approvals import Approvals
from inference_rollouts.core.plan.retention import Retention
from inference_rollouts.core.plan.trial import Mirror, Preview
from inference_rollouts.core.plan.workload import Picker, WarmUp, Workload
from inference_rollouts.core.serving.capacity import Capacity
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.values import Model, ModelName, Name, Percent, Text

T = TypeVar("T")


class Kind(StrEnum):
    """What is new under the traffic."""

    NODE = "node"
    BASE_MODEL = "base-model"
    LORA = "lora"


class Connections(Model):
    """Airflow connection ids."""

    kubernetes: str = "kubernetes_default"
    prometheus: str = "prometheus_default"
    google: str = Field("google_cloud_default", description="for gke-node-pool; workload identity without it")


class RouteRef(Model):
    """An HTTPRoute to move: the rules of these names, or all that send traffic to the stable pool."""

    name: Name
    rules: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class WeightStep(Model):
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


class Rollout(Model):
    """What all kinds of plans have. See include/rollouts/ for commented examples.

    `stable` serves today, `canary` is new: two pools, or two adapters of one pool.
    """

    name: Name
    description: str = ""
    namespace: Name = "default"
    connections: Connections = Connections()
    stable: ModelName
    canary: ModelName
    warm_up: WarmUp = WarmUp()
    steps: Annotated[tuple[WeightStep, ...], Field(min_length=1, max_length=20)]
    metrics: MetricName = "vllm"
    initial_delay: Seconds = 30.0
    analysis: Policy = Policy()
    approvals: Approvals = Approvals()
    deadlines: Deadlines = Deadlines()
    schedule: Schedule | None = None
    retention: Retention = Retention()
    storage: str | None = Field(
        None,
        description="where decision records, reports and charts go: any URL of Airflow's object storage",
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
        first = self.all_steps[0]
        if any(step <= first.weight for step in self.approvals.steps):
            raise ValueError(
                f"approvals.steps {list(self.approvals.steps)}: the first step has {first} already, "
                "and a person is asked after a step; begin with a smaller one"
            )
        return self

    @property
    def can_ask(self) -> bool:
        """Whether a person may be asked what becomes of a step."""
        return self.analysis.on_timeout == "ask" or bool(self.approvals.steps)

    @property
    def as_pool_plan(self) -> PoolPlan:
        """The plan as one that brings a pool of its own. Raises PlanInvalid when it brings none."""
        raise PlanInvalid(f"Plan {self.name} brings no pool of its own.")

    @property
    def as_adapter_plan(self) -> AdapterPlan:
        """The plan as one of an adapter. Raises PlanInvalid when it is not."""
        raise PlanInvalid(f"Plan {self.name} rolls out no adapter.")

    @property
    def dag_id(self) -> str:
        return dag_id_of(self.name)

    @property
    def retire_dag_id(self) -> str:
        return dag_id_of(self.name, "retire")

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """All that the canary is given, step by step; the DAG's steps count these from 1."""
        return tuple(Step(weight=step.weight, bake=step.bake) for step in self.steps)

    def step_context(self, index: int, since: float) -> StepContext:
        """What the judge is told of step `index` (from 1), whose weight was set at Unix time `since`."""
        return StepContext.of(self.all_steps, index, started_at=since, initial_delay=self.initial_delay)


class PoolPlan(Rollout):
    """A rollout to a second InferencePool: new nodes under the same model, or a new model or server."""

    kind: Literal[Kind.NODE, Kind.BASE_MODEL] = Kind.BASE_MODEL
    routes: Annotated[tuple[RouteRef, ...], Field(min_length=1)] | Literal["all"] = Field(
        "all", description="the HTTPRoutes to move; all: every one that sends traffic to the stable pool"
    )
    gateway: Name | None = Field(
        None, description="the only Gateway whose word on the routes counts; default: all that accept them"
    )
    stable: Name
    canary: Name
    workload: Workload
    picker: Picker
    nodes: Nodes
    capacity: Capacity = Capacity()
    preview: Preview | None = None
    mirror: Mirror | None = None

    @property
    def as_pool_plan(self) -> PoolPlan:
        return self

    @property
    def subject(self) -> str:
        """What such a rollout replaces."""
        return "pool"

    @property
    def scraped(self) -> str:
        """Whose metrics tell the arms apart, and with which labels."""
        return f"the pods of {self.stable} with the labels inference_pool={self.stable}"

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The mirror, if any, comes before all weights."""
        mirror = self.mirror
        first = (Step(weight=0, mirror=mirror.percent, bake=mirror.bake),) if mirror else ()
        return (*first, *super().all_steps)

    @model_validator(mode="after")
    def _nameable(self) -> Self:
        if isinstance(self.nodes, NodePool) and not NODE_POOL_NAME.fullmatch(self.canary):
            raise ValueError(
                f"the node pool is named after the canary, and {self.canary!r} is no name for one: "
                "at most 40 characters, a letter first"
            )
        return self

    @property
    def node_selector(self) -> dict[str, str]:
        """The labels of the nodes that the canary's pods run on."""
        return self.nodes.selector_for(self.canary)

    @property
    def pods_bring_nodes(self) -> bool:
        """Whether nodes can be expected only once there are pods that need them."""
        return isinstance(self.nodes, ComputeClass)

    @property
    def accelerators_needed(self) -> int:
        return self.workload.replicas * self.workload.accelerator.per_replica

    def pod_labels(self, pool: str) -> dict[str, str]:
        """The label that selects a pool's pods and that Prometheus keeps as `inference_pool`."""
        return {"inference-pool": pool}

    def pool_of(self, side: str) -> str:
        """The InferencePool whose pods serve `stable` or `canary`."""
        return side

    def arm(self, side: str) -> Arm:
        """The series of a pool in Prometheus."""
        return Arm("inference_pool", side, self.namespace)


class AdapterPlan(Rollout):
    """A rollout of a LoRA adapter inside one pool: `canary` is loaded beside `stable` on every pod.

    Clients go on asking for `alias`; an InferenceModelRewrite (or InferenceModel) splits it.
    """

    kind: Literal[Kind.LORA]
    pool: Name
    alias: ModelName
    path: Text = Field(description="where the model servers find the new adapter")
    load: Literal["runtime", "lazy"] = Field(
        "runtime", description="runtime: by vLLM's API; lazy: the servers' resolver, at the first request"
    )
    config: Text | None = Field(
        None,
        description="where to read its adapter_config.json: any URL of Airflow's object storage",
    )
    bases: tuple[Text, ...] = Field((), description="other names of the base model")
    target_modules: tuple[Text, ...] = Field(vllm.TARGET_MODULES, description="what the servers can adapt")
    metrics: MetricName = "endpoint_picker"

    @model_validator(mode="after")
    def _alias_is_no_adapter(self) -> Self:
        if self.alias in (self.stable, self.canary):
            raise ValueError(f"alias {self.alias!r} must not be the name of an adapter; clients ask for it")
        return self

    @property
    def as_adapter_plan(self) -> AdapterPlan:
        return self

    @property
    def subject(self) -> str:
        """What such a rollout replaces."""
        return "adapter"

    @property
    def scraped(self) -> str:
        """Whose metrics tell the arms apart, and with which labels."""
        return (
            f"the endpoint pickers of InferencePool {self.pool}, while clients ask for {self.alias}, "
            f"with the labels inference_pool={self.pool}"
        )

    def pool_of(self, side: str) -> str:
        """The InferencePool whose pods serve both adapters."""
        return self.pool

    def arm(self, side: str) -> Arm:
        """The series of an adapter in Prometheus."""
        process, request = ("inference_pool", self.pool), ("model_name", self.alias)
        return Arm("target_model_name", side, self.namespace, (process,), (request,))


Plan = PoolPlan | AdapterPlan
_PLAN: TypeAdapter[Plan] = TypeAdapter(Annotated[Plan, Field(discriminator="kind")])


def dag_id_of(name: str, verb: str = "rollout") -> str:
    """The id of a plan's DAG: what it does and the name, with what a DAG id may not hold replaced."""
    return f"{verb}_" + re.sub(r"[^a-z0-9]", "_", name.lower())


def parse_plan(value: Any) -> Plan:
    """A plan from parsed YAML; raises PlanInvalid with one phrase per mistake."""
    if isinstance(value, Mapping) and "kind" not in value:
        value = {"kind": Kind.BASE_MODEL.value, **value}
    return validated(_PLAN, value, "The plan is invalid")


def plan_schema() -> dict[str, Any]:
    """The JSON schema of plan files, for editors."""
    return {"title": "Plan of an inference rollout", **_PLAN.json_schema()}


def validated(adapter: TypeAdapter[T], value: Any, what: str) -> T:
    """The value as its type; raises PlanInvalid, beginning with `what`, that names every mistake."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise PlanInvalid(f"{what}: {'; '.join(map(_mistake, error.errors()))}.") from error


def _mistake(error: Any) -> str:
    tags = {kind.value for kind in Kind}
    where = ".".join(str(part) for part in error["loc"] if part not in tags)
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("value_error", "missing") else f" (given {str(error['input'])[:80]!r})"
    return f"{where}: {message}{given}" if where else message
