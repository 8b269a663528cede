"""What all plans have: where they run, how far steps go, how long a phase may take, how it is judged."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.judging.metrics import MetricSetNames
from inference_rollouts.core.judging.policy import Policy, Step, StepContext
from inference_rollouts.core.plan.approvals import Approvals
from inference_rollouts.core.plan.notifications import Notification
from inference_rollouts.core.plan.retention import Retention
from inference_rollouts.core.plan.versions import Versions
from inference_rollouts.core.plan.workload import WarmUp
from inference_rollouts.core.schedule.calendar import AtWindowEnd
from inference_rollouts.core.schedule.schedule import Schedule
from inference_rollouts.core.schedule.windows import Blackout, Window
from inference_rollouts.core.values import (
    Model,
    ModelName,
    Name,
    Namespace,
    NewModelName,
    Percent,
    Text,
    renamed,
)
from inference_rollouts.core.versions.version import VERSION

CURRENT = "current"
"""As a plan's `stable`: whatever has the traffic when a run begins."""


class Connections(Model):
    """Ids of Airflow connections. The defaults are the ids that Airflow's own hooks use."""

    kubernetes: str = "kubernetes_default"
    """The cluster."""
    prometheus: str = "prometheus_default"
    """The metrics store."""
    model_servers: str | None = None
    """The model servers: its password is the API key that they want. Default: none, for those without."""
    google: str = "google_cloud_default"
    """GKE's API, asked only by the provisioner gke-node-pool. Where there is no such connection, workload
    identity is used."""
    registry: str = "registry_default"
    """The OCI registry whose tags are versions. It is asked only by plans that say so."""


class WeightStep(Model):
    """One weight increase."""

    weight: Percent
    """The canary's share of the requests, in %."""
    bake: Seconds
    """How long it must look good there."""


class Deadlines(Model):
    """How long each phase may take before the rollout gives up and rolls back."""

    nodes: Seconds = 1800.0
    """Until the nodes are ready. Default: 30m, as a cloud may take long to find accelerators."""
    ready: Seconds = 2400.0
    """Until the canary's pods and objects are ready, and its conditions stand. Default: 40m, for large
    images and weights."""
    warm_up: Seconds = 600.0
    """Until all its pods are warm. Default: 10m."""
    route: Seconds = 300.0
    """Until gateway and traffic follow new weights, or both pools have room for them. Default: 5m, as
    gateways take up to minutes."""
    abandon: Annotated[Seconds, Field(gt=0)] = 300.0
    """How long after its next move was due a rollout counts as abandoned, and a guardian ends it. Default:
    5m, so that nothing that is only slow is ended."""
    linger: Annotated[Seconds, Field(gt=0)] | None = None
    """How long a run may take until people are told that it lingers, where a notification asks for that.
    Default: as long as its phases may take together; windows and blackouts come on top of that, so say it
    where the plan has some."""


class CommonPlan(Model):
    """The fields of every plan. See include/rollouts/ for commented examples.

    `stable` serves today, `canary` is new: two pools, or two adapters of one pool.
    """

    name: Name
    """The plan's name, and its file's; the DAGs are `rollout_<name>` and `retire_<name>`."""
    description: str = ""
    """What it is for, shown in Airflow."""
    namespace: Namespace = "default"
    """Where everything that it moves and creates is."""
    connections: Connections = Connections()
    """The Airflow connections that it uses."""
    stable: ModelName
    """What serves today; `current`: what has the traffic when a run begins."""
    canary: NewModelName
    """What is new. With `versions` it ends with `{version}`, which stands for a part of a name that no other
    version has."""
    versions: Versions | None = None
    """Where the version comes from that a run rolls out. Default: the plan names what is new itself."""
    warm_up: WarmUp = WarmUp()
    """What new pods must answer before any weight leaves 0."""
    steps: Annotated[tuple[WeightStep, ...], Field(min_length=1, max_length=20)]
    """The weights, rising to 100."""
    without_comparison: bool = False
    """Whether the canary may get 100 % at once, with nothing to compare it with: only objectives and
    guardrails judge it then. Default: no, as a canary that is slow or wrong in its own way is not seen so."""
    metrics: MetricSetNames = ("vllm",)
    """The metric set by which it is judged, a file of include/metrics/, or a list of those that judge
    together, the one to be shown first. Default: the servers' own metrics."""
    initial_delay: Seconds = 30.0
    """How long after each shift the canary is not looked at. The first look sees what was `scrape_delay`
    before, but nothing of the first half of this time. Default: 30s, for gateways to follow and caches to
    fill."""
    analysis: Policy = Policy()
    """How it is judged."""
    approvals: Approvals = Approvals()
    """Where a person is asked."""
    notifications: Annotated[tuple[Notification, ...], Field(max_length=20)] = ()
    """Who is told of it, and of what. Default: nobody."""
    deadlines: Deadlines = Deadlines()
    """How long each phase may take."""
    schedule: Schedule | None = None
    """When it runs by itself. Default: when a person starts it."""
    after: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    """Plans whose rollouts of the same night must have ended well before this one starts by itself. Their
    ends start it. Default: none."""
    after_within: Seconds = 8 * 3600.0
    """How long after those were due it may still start. Default: 8h, a night."""
    airflow_pool: Annotated[Text, Field(max_length=256)] | None = None
    """An Airflow pool, one slot of which is kept while a rollout that starts by itself runs. Default: none;
    rollouts of several plans run at once."""
    windows: tuple[Window, ...] = ()
    """The only times at which weights are raised. Default: none, which is any time."""
    blackouts: tuple[Blackout, ...] = ()
    """Days on which no weight is raised."""
    calendars: tuple[Name, ...] = ()
    """More blackouts, shared by plans: files of include/calendars/."""
    at_window_end: AtWindowEnd = AtWindowEnd.STAY
    """What becomes of a rollout in flight when its window closes, or a blackout begins: `stay` (it keeps its
    share until the next opening), `finish` (it goes on) or `rollback`. Default: `stay`."""
    retention: Retention = Retention()
    """How long what it leaves behind is kept."""
    storage: str | None = None
    """Where decision records, reports and charts go: any URL of Airflow's object storage. Default: nowhere;
    Airflow has verdicts and report all the same."""

    _renamed = renamed(settle="initial_delay", records="storage")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stable == self.canary:
            raise ValueError(
                f"stable and canary are both {self.stable!r}; the canary needs a name of its own"
            )
        self._check_versions()
        if self.name == "digest":
            raise ValueError("name: `digest` is the morning report's")
        if self.name in self.after or (self.versions and self.versions.after == self.name):
            raise ValueError("after: a plan cannot come after itself")
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)) or weights[-1] != 100:
            raise ValueError(f"weights {weights} must rise step by step and end at 100")
        if not self.without_comparison and not any(step.compared for step in self.all_steps):
            raise ValueError(
                "a lone step at 100 % has nothing to compare the canary with; begin with a smaller weight, "
                "or say without_comparison: true"
            )
        first = self.all_steps[0]
        if any(step <= first.weight for step in self.approvals.steps):
            raise ValueError(
                f"approvals.steps {list(self.approvals.steps)}: the first step has {first} already, "
                "and a person is asked after a step; begin with a smaller one"
            )
        return self

    def _check_versions(self) -> None:
        """Raises ValueError where the plan does not say what becomes of a version."""
        if self.versions is None:
            if VERSION in self.canary:
                raise ValueError(f"canary {self.canary!r} names a version, and the plan has no `versions`")
        elif not self.canary.endswith(VERSION) or self.stable != CURRENT:
            raise ValueError(
                f"with `versions` each run has another canary: its name must end with {VERSION}, and stable "
                f"must be {CURRENT}"
            )

    @property
    def can_ask(self) -> bool:
        """Whether a person may be asked what becomes of a step."""
        return self.analysis.on_timeout == "ask" or bool(self.approvals.steps)

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """All that the canary is given, step by step; the DAG's steps count these from 1."""
        return tuple(Step(weight=step.weight, bake=step.bake) for step in self.steps)

    def step_context(self, index: int, since: float) -> StepContext:
        """What the judge gets about step `index` (from 1), whose weight was set at Unix time `since`.

        What its first observation sees is as old as samples are; so with the bake's end the bake is seen.
        Where samples come late, half of the initial delay is left out all the same, for caches to fill.
        """
        sooner = min(self.analysis.scrape_delay, self.initial_delay / 2)
        uncounted = self.initial_delay - sooner
        return StepContext.of(self.all_steps, index, started_at=since, initial_delay=uncounted)
