"""What a rollout would do, before it does anything: what changes, what steps can see, how long they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from inference_rollouts.core.durations import spoken
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.takeover import Finding
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting import takeover
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.rules import spelling_of
from inference_rollouts.core.routing.weights import Target, at_percent, describe
from inference_rollouts.core.run.pace import pace_of, until_judged
from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.core.schedule.outlook import ends_by


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one object, `to create` it or `to change` it, as lines of a diff."""

    title: str
    what: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A rollout that was checked and not begun, at `now` (Unix seconds).

    `stays` are sentences about what is not touched, `power` is a table of what the steps can detect, and
    `missed` what they may miss. `calendar` is when it may be raised.
    `findings` are what the canary has of all that stable has.
    """

    plan: Plan
    now: float
    changes: tuple[Change, ...]
    stays: tuple[str, ...]
    power: str
    missed: tuple[str, ...]
    calendar: Calendar = field(default_factory=Calendar)
    findings: tuple[Finding, ...] = ()

    @property
    def expected(self) -> float:
        """Seconds that the steps take if each passes at its first chance."""
        return sum(delay + bake for delay, bake in _steps(self.plan))

    @property
    def latest(self) -> float:
        """By when it has ended if all is as late as the plan allows (Unix seconds)."""
        return ends_by(self.calendar, pace_of(self.plan), self.now)


def shares(target: Target, obj: K8sObject, places: Sequence[Place], plan: Plan) -> Change:
    """How the weights of an object go, step by step."""
    spelling = spelling_of(obj)
    lines = []
    for place in places:
        where = f"{place.path}/{spelling.field}"
        lines.append(f"- {where}: {describe(place.found, spelling)}")
        for number, step in enumerate(plan.all_steps, start=1):
            entries = at_percent(place.found, plan.stable, plan.canary, step.weight, spelling)
            copies = f", {step.mirror} % mirrored to {plan.canary}" if step.mirror else ""
            lines.append(f"+ {where}: {describe(entries, spelling)}{copies} (step {number})")
    return Change(str(target), "to change", tuple(lines))


def headline(forecast: Forecast) -> str:
    """One line: nothing was written, what would be, and how long it would take. It is markup."""
    plan, counts = forecast.plan, [change.what for change in forecast.changes]
    created, changed = counts.count("to create"), counts.count("to change")
    return (
        f"**{plan.stable} -> {plan.canary}: dry run**, nothing was written. "
        f"{created} {'object' if created == 1 else 'objects'} to create, {changed} to change. "
        f"The steps take {spoken(forecast.expected)} if all goes well; it ends by {_utc(forecast.latest)} "
        "at the latest."
    )


def markdown(forecast: Forecast) -> str:
    """All of it, for people."""
    return "\n".join([*_summary(forecast), *_changes(forecast)])


def summary(forecast: Forecast) -> str:
    """The same without what changes, for where there is little room."""
    return "\n".join(_summary(forecast))


def _summary(forecast: Forecast) -> Iterator[str]:
    plan = forecast.plan
    yield from (headline(forecast), "", "| step | share | delay | bake | decided within |")
    yield "| ---: | --- | ---: | ---: | ---: |"
    for number, (step, (delay, bake)) in enumerate(zip(plan.all_steps, _steps(plan), strict=True), start=1):
        within = spoken(until_judged(plan, number))
        yield f"| {number} | {step} | {spoken(delay)} | {spoken(bake)} | {within} |"
    yield from ("", forecast.power)
    yield from (f"Warning: {sentence}" for sentence in forecast.missed)
    if forecast.findings:
        yield from ("", takeover.summary(forecast.findings))


def _changes(forecast: Forecast) -> Iterator[str]:
    if forecast.findings:
        yield from ("", takeover.table(forecast.findings))
    for change in forecast.changes:
        yield from ("", f"{change.title}, {change.what}:", "```diff", *change.lines, "```")
    yield ""
    yield from (f"- stays: {sentence}" for sentence in forecast.stays)


def _steps(plan: Plan) -> list[tuple[float, float]]:
    """Of each step the seconds in which it is not looked at, and those of its bake time."""
    return [(plan.initial_delay, step.bake) for step in plan.all_steps]


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
