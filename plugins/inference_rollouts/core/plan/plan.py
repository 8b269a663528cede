"""A rollout as data: the plan file. One format, three kinds of rollout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.metrics import MetricSetNames
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.nodes.provisioners import (
    NODE_POOL_NAME,
    ComputeClass,
    ExistingNodes,
    NodePool,
    Nodes,
)
from inference_rollouts.core.plan.common import CURRENT, CommonPlan
from inference_rollouts.core.plan.trial import Mirror, Preview
from inference_rollouts.core.plan.workload import AS_STABLE, LIKE_STABLE, Picker, Workload
from inference_rollouts.core.serving.capacity import Capacity
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.values import (
    LabelledName,
    Model,
    ModelName,
    NewName,
    ObjectName,
    Text,
    mistakes,
    unstorable,
)
from inference_rollouts.core.versions.version import PINNED, VERSION

T = TypeVar("T")


class Kind(StrEnum):
    """What is new under the traffic."""

    NODE = "node"
    BASE_MODEL = "base-model"
    LORA = "lora"


class RouteRef(Model):
    """An HTTPRoute whose weights are moved."""

    name: ObjectName
    """The HTTPRoute's name."""
    rules: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of its rules to move. Default: all that send traffic to the stable pool."""


def _or_like_stable(schema: dict[str, Any]) -> None:
    """Editors know the short form too."""
    if reference := schema.pop("$ref", None):
        schema["anyOf"] = [{"$ref": reference}, {"const": LIKE_STABLE}]


class Rollout(CommonPlan):
    """A plan, and what kind of plan it is."""

    @property
    def as_pool_plan(self) -> PoolPlan:
        """The plan as one that creates a pool. Raises PlanInvalid when it creates none."""
        raise PlanInvalid(f"Plan {self.name} creates no pool.")

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
    def start_dag_id(self) -> str:
        return dag_id_of(self.name, "start")


class PoolPlan(Rollout):
    """A rollout to a second InferencePool: new nodes under the same model, or a new model or server."""

    kind: Literal[Kind.NODE, Kind.BASE_MODEL] = Kind.BASE_MODEL
    """What is new: `node`, the hardware alone; `base-model`, the model or its server."""
    routes: Annotated[tuple[RouteRef, ...], Field(min_length=1)] | Literal["all"] = "all"
    """The HTTPRoutes whose weights are moved. Default: `all` that send traffic to the stable pool, so that
    none is forgotten."""
    gateway: ObjectName | None = None
    """The only Gateway whose conditions on the routes count. Default: all that accept them."""
    stable: LabelledName
    """The InferencePool that serves today; `current`: the one to which `routes` send their traffic when a run
    begins."""
    canary: NewName
    """The InferencePool that the rollout creates. With `versions` it ends with `{version}`, which stands for
    a part of a name that no other version has."""
    workload: Annotated[Workload, Field(json_schema_extra=_or_like_stable)]
    """What runs in it; `like-stable`: what runs in stable, unchanged."""
    picker: Picker = Picker()
    """Its endpoint picker. Default: a copy of stable's, where the workload is like stable's."""
    nodes: Nodes = ExistingNodes(selector={})
    """Where it runs, and how it comes to its nodes. Default: where stable runs, if the workload is like
    stable's."""
    accept_differences: tuple[Text, ...] = ()
    """The differences from stable with which a rollout may begin though they matter to security or to
    clients, by the names that preflight gives them, such as `GCPBackendPolicy.default.iap`. Default: none."""
    capacity: Capacity = Capacity()
    """What pods can carry, asked before each raise."""
    preview: Preview | None = None
    """Lets people try the canary by a header, before it has traffic. Default: no."""
    mirror: Mirror | None = None
    """A first step in which the canary gets copies of requests. Default: none."""

    @property
    def as_pool_plan(self) -> PoolPlan:
        return self

    @property
    def subject(self) -> str:
        """What such a rollout replaces."""
        return "pool"

    def scraped(self, side: str) -> str:
        """Whose metrics tell a side apart, and with which labels."""
        return f"the pods of {side} with the labels inference_pool={side}"

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The mirror, if any, comes before all weights."""
        mirror = self.mirror
        first = (Step(weight=0, mirror=mirror.percent, bake=mirror.bake),) if mirror else ()
        return (*first, *super().all_steps)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.stable == CURRENT and self.routes == "all":
            raise ValueError(
                f"stable: {CURRENT} is the pool that has the traffic of `routes`; name them, as `all` are "
                "those of a pool"
            )
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.workload.like == "template":
            unsaid = isinstance(self.nodes, ExistingNodes) and not self.nodes.selector
            lacking = [
                *(["picker.image"] if self.picker.image == AS_STABLE else []),
                *(["nodes"] if unsaid else []),
            ]
            if lacking:
                raise ValueError(f"{', '.join(lacking)}: needed, unless the workload is `like: stable`")
        return self

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.versions and not self.workload.image.endswith("@" + PINNED):
            raise ValueError(
                f"with `versions` workload.image must end with @{PINNED}, as a tag may mean another image "
                f"tomorrow: registry.example/server:{VERSION}@{PINNED}"
            )
        return self

    @model_validator(mode="after")
    def _nameable(self) -> Self:
        made = isinstance(self.nodes, NodePool) and not self.versions
        if made and not NODE_POOL_NAME.fullmatch(self.canary):
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
    """What is new: `lora`, an adapter."""
    pool: LabelledName
    """The InferencePool whose pods serve both adapters."""
    alias: ModelName
    """What clients ask for; a rule of an InferenceModelRewrite or InferenceModel sends it to `stable`
    today."""
    path: Text
    """Where the model servers find the new adapter: a folder, or a model on a hub."""
    load: Literal["runtime", "lazy"] = "runtime"
    """How pods come to it: by vLLM's API (`runtime`), or by the servers' resolver at the first request
    (`lazy`). Default: `runtime`, which needs no resolver."""
    config: Text | None = None
    """Where preflight reads its adapter_config.json: any URL of Airflow's object storage. Without it only
    loading shows whether the adapter fits."""
    bases: tuple[Text, ...] = ()
    """Other names of the base model, under which the adapter may have been trained for it."""
    target_modules: tuple[Text, ...] = vllm.TARGET_MODULES
    """The modules that the servers can adapt. Default: those of the usual transformers in vLLM."""
    metrics: MetricSetNames = ("endpoint_picker",)
    """The metric set by which it is judged, or a list of those that judge together. Default: the pickers'
    metrics, which alone tell adapters apart."""

    @model_validator(mode="after")
    def _alias_is_no_adapter(self) -> Self:
        if self.alias in (self.stable, self.canary):
            raise ValueError(f"alias {self.alias!r} must not be the name of an adapter; clients ask for it")
        return self

    @model_validator(mode="after")
    def _versioned(self) -> Self:
        if self.versions and VERSION not in self.path and PINNED not in self.path:
            raise ValueError(f"with `versions` path must hold {VERSION} or {PINNED}")
        return self

    @property
    def as_adapter_plan(self) -> AdapterPlan:
        return self

    @property
    def subject(self) -> str:
        """What such a rollout replaces."""
        return "adapter"

    def scraped(self, side: str) -> str:
        """Whose metrics tell both sides apart, and with which labels."""
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
    """The id of a plan's DAG: what it does and the name, with what a DAG id may not hold replaced.

    Names of plans are at most 53 characters; those of files are cut to what Airflow takes.
    """
    return f"{verb}_" + re.sub(r"[^a-z0-9]", "_", name.lower())[:200]


def parse_plan(value: Any) -> Plan:
    """A plan from parsed YAML; raises PlanInvalid with one phrase per mistake."""
    if isinstance(value, Mapping) and "kind" not in value:
        value = {"kind": Kind.BASE_MODEL.value, **value}
    if places := list(unstorable(value)):
        where = ", ".join(dict.fromkeys(place or "the file" for place in places))
        raise PlanInvalid(f"The plan is invalid: {where}: control characters or halves of characters.")
    return validated(_PLAN, value, "The plan is invalid")


def plan_schema() -> dict[str, Any]:
    """The JSON schema of plan files, for editors."""
    return {"title": "Plan of an inference rollout", **_PLAN.json_schema()}


def validated(adapter: TypeAdapter[T], value: Any, what: str) -> T:
    """The value as its type; raises PlanInvalid, beginning with `what`, that names every mistake."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise PlanInvalid(f"{what}: {mistakes(error, tuple(Kind))}.") from error
