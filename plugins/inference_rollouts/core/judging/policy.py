"""What the plan says about judging, and what the judge is told at each observation beside the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Value

Positive = Annotated[float, Field(gt=0)]


class Guardrails(Value):
    """Limits that act within one interval, beside the statistics."""

    storm_share: Annotated[
        float, Field(gt=0, le=1, description="bad share of one window that is a storm")
    ] = 0.5
    storm_requests: Annotated[int, Field(ge=1, description="in that window, at least so many bad")] = 20
    restarts: Annotated[
        int, Field(ge=1, description="restarts of a container, the last in this step, that are a crash loop")
    ] = 3


class Policy(Value):
    """How a rollout judges: the plan's `analysis`."""

    alpha: Annotated[float, Field(gt=0, lt=0.5, description="false alarms, over the whole rollout")] = 0.01
    beta: Annotated[
        float, Field(gt=0, lt=0.5, description="false promotions of a canary worse by margin")
    ] = 0.05
    margin: Annotated[float, Field(gt=0, le=10)] | None = Field(
        1.0, description="promote only when odds below 1 + margin are shown; null: bake time is enough"
    )
    min_requests: Annotated[int, Field(ge=1, description="a step needs so many on each arm")] = 50
    tolerances: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(
        default={}, description="by metric, instead of the metric set's"
    )
    objectives: bool = Field(True, description="judge the metric set's absolute limits too")
    kappa: Annotated[float, Field(gt=0, le=1)] | Literal["estimate"] = Field(
        0.5, description="the power to which evidence is raised, 1 / overdispersion"
    )
    kappa_bounds: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.1, 1.0)
    interval: Annotated[Seconds, Field(gt=0, description="time between observations")] = 5.0
    scrape_delay: Annotated[Seconds, Field(description="how late the metrics store may be")] = 0.5
    progress_deadline: Annotated[
        Seconds, Field(description="how long a step may take beyond its bake time")
    ] = 900.0
    on_timeout: Literal["rollback", "ask", "advance"] = "rollback"
    guardrails: Guardrails = Guardrails()
    min_detectable_odds: Annotated[
        float, Field(gt=1, le=100, description="the odds ratio each step should detect")
    ] = 3.0
    when_underpowered: Literal["ignore", "warn", "refuse"] = Field(
        "warn",
        description="what preflight does when a step is too short, or traffic too thin, for that",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.kappa_bounds
        if low > high:
            raise ValueError(f"kappa_bounds {low:g}, {high:g} must rise")
        return self


class Step(Value):
    """What one step gives the canary: a share of the requests or, before its first weight, copies of them.

    Answers to copies are thrown away: clients never see them.
    """

    weight: Annotated[int, Field(ge=0, le=100, description="the canary's share of the requests, in percent")]
    mirror: Annotated[
        int, Field(ge=0, le=100, description="percent of the requests that are copied to it")
    ] = 0
    bake: Seconds

    @property
    def share(self) -> float:
        """The canary's share (0 to 1) of all that both arms count."""
        return (self.weight + self.mirror) / (100 + self.mirror)

    @property
    def compared(self) -> bool:
        """Whether stable gets traffic to compare with."""
        return self.weight < 100

    def __str__(self) -> str:
        return f"{self.mirror} % mirrored" if self.mirror else f"{self.weight} %"


class StepContext(Step):
    """One step of the rollout. `started_at` (Unix seconds) is when its weight was seen in force."""

    index: Annotated[int, Field(ge=1, description="1 for the first step")]
    steps: Annotated[int, Field(ge=1, description="how many the plan has")]
    started_at: float
    initial_delay: Seconds = 0.0
    resumed: bool = Field(False, description="goes on with the evidence of this very step, so far carried")
    last_compared: bool = Field(False, description="the last step on which stable still has traffic")

    @classmethod
    def of(cls, steps: Sequence[Step], index: int, *, started_at: float, initial_delay: float) -> StepContext:
        """Step `index` (from 1) of a rollout with these steps."""
        step = steps[index - 1]
        compared = [place for place, each in enumerate(steps, start=1) if each.compared]
        return cls(
            weight=step.weight,
            mirror=step.mirror,
            bake=step.bake,
            index=index,
            steps=len(steps),
            started_at=started_at,
            initial_delay=initial_delay,
            last_compared=bool(compared) and index == compared[-1],
        )

    @property
    def anchor(self) -> float:
        """The first tick of the step's grid: what happens before is not counted."""
        return self.started_at + self.initial_delay

    @property
    def baked_at(self) -> float:
        return self.anchor + self.bake


class Health(Value):
    """The cluster as last seen. None: not known, because the cluster did not answer."""

    ready_canary: int | None = None
    ready_stable: int | None = None
    shared: bool = Field(False, description="the same pods serve both: canary and stable are adapters")
    restarts: int = Field(0, description="the most of any canary container that was restarted in this step")
    crash_loop: bool = False
    canary_outage: str = Field("", description="what drops the canary's requests although its pods are ready")
    route_ok: bool = Field(True, description="accepted, references resolved, still ours")
    prometheus_ok: bool = True
    blockers: tuple[str, ...] = Field(
        (), description="why the step may not pass yet: gateway or traffic do not follow the weights"
    )
    notes: tuple[str, ...] = Field((), description="what makes the comparison or the way back doubtful")
