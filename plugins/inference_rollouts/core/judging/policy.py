"""What the plan says about judging, and what the judge gets at each observation beside the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Value, renamed

Positive = Annotated[float, Field(gt=0)]
LEAST_CHANCE = 1e-200
"""Of what a plan wants to be improbable: evidence of one over it is still a number."""
Chance = Annotated[float, Field(ge=LEAST_CHANCE, lt=0.5)]
STORM_WINDOWS = 2
"""Windows running that a storm takes: one may show on one arm what both had, as scrapes are not aligned."""


class Guardrails(Value):
    """Limits that act within one interval, beside the statistics."""

    storm_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The bad share of a window that is a storm, if the next one is as bad and stable's is less than half of
    the canary's. Default: half."""
    storm_requests: Annotated[int, Field(ge=1)] = 20
    """How many requests of each must be bad at least. Default: 20, so that chance makes no storm."""
    restarts: Annotated[int, Field(ge=1)] = 3
    """Crashes of the canary's pods together, over all steps so far and the last in this one, that are too
    many; a pod in the place of one that is gone is a crash too. Default: 3, as one or two may be an
    accident."""


class Policy(Value):
    """How a rollout judges: the plan's `analysis`."""

    alpha: Chance = 0.01
    """The probability of ever raising a false alarm in the whole rollout. Default: one good rollout of a
    hundred."""
    beta: Chance = 0.05
    """The probability of promoting a canary that is worse by `margin` or more. Default: one of twenty."""
    margin: Annotated[float, Field(gt=0, le=10)] | None = 1.0
    """The last compared step passes only when odds below 1 + margin are shown; null: bake time is enough.
    Default: 1, twice stable's odds, which traffic of tens of requests/s can show within minutes."""
    min_requests: Annotated[int, Field(ge=1)] = 50
    """Requests that a step needs on each arm. Default: 50, so that silence is no success."""
    tolerances: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(default={})
    """By metric, instead of the metric set's: odds up to 1 + this are no regression. Default: the metric
    set's."""
    objectives: bool = True
    """Whether the metric set's absolute limits are judged too. Default: yes; at 100 % nothing else can be."""
    kappa: Annotated[float, Field(gt=0, le=1)] | Literal["estimate"] = "estimate"
    """The power to which evidence is raised, 1 / overdispersion; `estimate`: from past windows. Default:
    `estimate`, as no fixed value fits both failures of single requests and times of batched tokens."""
    kappa_bounds: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (
        0.001,
        1.0,
    )
    """Between which an estimated kappa stays."""
    interval: Annotated[Seconds, Field(ge=0.01)] = 5.0
    """Time between observations; not below the scrape interval. Default: 5s, as often as GKE scrapes at
    best."""
    scrape_delay: Seconds = 0.5
    """How late samples may reach the metrics store: an observation waits so long. Default: 0.5s, for a
    Prometheus beside its targets."""
    progress_deadline: Seconds = 1800.0
    """How long a step may take beyond its bake time. Default: 30m, in which 5 requests/s show that a canary
    is good enough."""
    on_timeout: Literal["rollback", "ask", "advance"] = "ask"
    """What becomes of a step that is undecided then; `advance` goes on without proof, and never without data,
    the minimum of events and the weights in force. Default: `ask`, as absence of proof is no success and no
    failure either."""
    guardrails: Guardrails = Guardrails()
    """Limits that act at once, beside the statistics."""
    min_detectable_odds: Annotated[float, Field(gt=1, le=100)] = 3.0
    """The odds ratio that each step should detect within its bake time. Default: 3, a threefold failure
    rate."""
    when_underpowered: Literal["ignore", "warn", "refuse"] = "warn"
    """What preflight does where a step is too short, or traffic too thin, for that. Default: `warn`, as
    small first steps seldom detect it."""

    _renamed = renamed(
        look="interval",
        lag="scrape_delay",
        patience="progress_deadline",
        catch="min_detectable_odds",
        when_blind="when_underpowered",
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

    weight: Annotated[int, Field(ge=0, le=100)]
    """The canary's share of the requests, in %."""
    mirror: Annotated[int, Field(ge=0, le=100)] = 0
    """The share of the requests that is copied to it, in %."""
    bake: Seconds
    """How long it must look good."""

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

    index: Annotated[int, Field(ge=1)]
    """1 for the first step."""
    steps: Annotated[int, Field(ge=1)]
    """How many the plan has."""
    whole: Seconds
    """How long all of them bake together."""
    started_at: float
    initial_delay: Seconds = 0.0
    resumed: bool = False
    """Whether it goes on with the evidence of this very step, so far carried."""
    last_compared: bool = False
    """Whether it is the last step on which stable still has traffic."""

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
            whole=sum(each.bake for each in steps),
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
    shared: bool = False
    """Whether the same pods serve both: canary and stable are adapters."""
    restarts: int = 0
    """Crashes of the canary's pods in this step, all together."""
    canary_outage: str = ""
    """What drops the canary's requests although its pods are ready."""
    route_ok: bool = True
    """Accepted, references resolved, still ours."""
    age: float = 0.0
    """Seconds since it was certain that the cluster was so; 0 where it was read for this observation."""
    storm: str = ""
    """A storm in a window that is not counted, such as those before the first tick."""
    prometheus_ok: bool = True
    blockers: tuple[str, ...] = ()
    """Why the step may not pass yet: gateway or traffic do not follow the weights."""
    notes: tuple[str, ...] = ()
    """What makes the comparison or the way back doubtful."""
    held: bool = False
    """Whether no deadline ends the step: a person decides how long it lasts, or who observes it has only
    begun, and was told nothing yet."""
    resumed: float = 0.0
    """When a person last let it go on, or skipped its bake (Unix seconds): the deadline counts from then."""
    bake_skipped: bool = False
    """Whether a person commanded that the step need bake no longer."""
