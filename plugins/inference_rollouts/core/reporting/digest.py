"""The morning report: what became of last night's rollouts, a line a service, and what is to come next."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.core.durations import spoken
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.reporting.message import Severity
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.text import inert
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.schedule.zones import local_and_utc
from inference_rollouts.core.values import Value
from inference_rollouts.core.versions.version import parse_version

EVENT_TYPE = "dev.inference-rollouts.digest"  # of its CloudEvent
HOUR = 3600.0
PROMOTED, NOT_STARTED = Outcome.PROMOTED.value, Outcome.NOT_STARTED.value
COLUMNS = ("service", "from", "to", "when", "how long", "what became of it, and why", "cost")


class Cost(Value):
    """What a rollout took: accelerator-hours of both arms while it ran (None where the plan does not say how
    many a pod has), and the requests that the canary did not serve well.
    """

    stable_hours: float | None
    canary_hours: float | None
    badly_served: int


class Ended(Value):
    """How one run ended: from what to what, between which moments (Unix seconds), how and why.

    `nothing_new`: it did not begin, because all is as it should be.
    """

    stable: str
    canary: str
    version: str
    began: float
    ended: float
    outcome: str
    why: str
    cost: Cost | None = None
    nothing_new: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """All that the report says of one plan.

    `ended` are its runs of the night, `doing` what it does now (empty: nothing), or `unknown` why nobody
    knows that, `waits` what it waits for, and `next` when it starts again.
    """

    name: str
    ended: tuple[Ended, ...] = ()
    doing: str = ""
    unknown: str = ""
    waits: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class Digest:
    """The report of the time between two moments (Unix seconds), for people in a time zone."""

    services: tuple[Service, ...]
    since: float
    until: float
    zone: str


def ended_of(
    frozen: Frozen, outcome: str, why: str, judgements: Sequence[Mapping[str, Any]], now: float
) -> Ended:
    """How a run ended that preflight let begin."""
    version = parse_version(frozen.version)
    return Ended(
        stable=frozen.plan.stable,
        canary=frozen.plan.canary,
        version=version.short if version else "",
        began=frozen.began,
        ended=now,
        outcome=outcome,
        why=why,
        cost=cost_of(frozen.plan, frozen.stable_pods, now - frozen.began, judgements),
    )


def cost_of(plan: Plan, stable_pods: int, seconds: float, judgements: Sequence[Mapping[str, Any]]) -> Cost:
    """What a rollout took that lasted so long; what is kept afterwards is not in it."""
    bad = sum(round(each["requests"] * (each["errors"] or 0.0)) for each in _canaries(judgements))
    if not isinstance(plan, PoolPlan):
        return Cost(stable_hours=None, canary_hours=None, badly_served=bad)
    each = plan.workload.accelerator.per_replica * seconds / HOUR
    return Cost(stable_hours=stable_pods * each, canary_hours=plan.workload.replicas * each, badly_served=bad)


def worth_telling(ended: Sequence[Ended]) -> tuple[Ended, ...]:
    """The runs that did something, or the last one, which says why none did: events wake many in vain."""
    began = tuple(each for each in ended if each.outcome != NOT_STARTED)
    return began or tuple(ended[-1:])


def waiting(after: Sequence[str], ended: Mapping[str, Sequence[Ended]]) -> str:
    """Which of the plans that one comes after have not ended well, and how; empty where all have."""
    kept = [f"{name}, which {_fared(ended.get(name, ()))}" for name in after if not _went_well(ended, name)]
    return f"it comes after {' and '.join(kept)}" if kept else ""


def following(plan: Plan, due: float | None, opening: str) -> str:
    """When a plan starts again by itself (Unix seconds; None: at no time of its own), and may move."""
    schedule = plan.schedule
    starts = [f"starts {local_and_utc(due, schedule.timezone)}"] if due and schedule else []
    after = [f"starts after {' and '.join(plan.after)}"] if plan.after else []
    moves = [f"moves {opening}"] if opening else []
    return ", ".join([*(starts + after or ["starts when somebody, or an event, starts it"]), *moves])


@dataclass(frozen=True, slots=True)
class MorningReport:
    """The report as a message; `link` leads to the run that made it, whose id is `run`."""

    digest: Digest
    run: str
    link: str

    @property
    def id(self) -> str:
        """One of each run."""
        return f"{self.run}/digest"

    @property
    def headline(self) -> str:
        """How many rollouts ended how."""
        return _headline(self.digest)

    @property
    def text(self) -> str:
        """As Markdown, and where it stands."""
        return "\n".join(filter(None, (markdown(self.digest), self.link)))

    @property
    def html(self) -> str:
        """As a page."""
        return page(self.digest)

    @property
    def severity(self) -> Severity:
        """A report wakes nobody."""
        return "info"

    @property
    def source(self) -> str:
        """It is of all plans."""
        return "inference-rollouts"

    def details(self) -> dict[str, Any]:
        """Its lines, by service."""
        return {"report": markdown(self.digest)}

    def cloud_event(self, now: float) -> dict[str, Any]:
        """As CloudEvents 1.0 has it, told at `now` (Unix seconds)."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/{self.source}",
            "type": EVENT_TYPE,
            "subject": self.run,
            "time": datetime.fromtimestamp(now, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": {"headline": self.headline, "link": self.link, **self.details()},
        }


def markdown(digest: Digest) -> str:
    """As a note, a message or a log shows it."""
    rows = [_row(cells, inert) for cells in _lines(digest)]
    return "\n".join(
        [
            f"**{_headline(digest)}**",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{' --- |' * len(COLUMNS)}",
            *rows,
            "",
            "**The next night:**",
            "",
            *(f"- {inert(service.name)}: {inert(service.next)}" for service in digest.services),
        ]
    )


def page(digest: Digest) -> str:
    """As HTML, which mails and pages show; nothing that others wrote is markup there."""
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in _lines(digest)
    )
    following = "\n".join(
        f"<li>{html.escape(service.name)}: {html.escape(service.next)}</li>" for service in digest.services
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Rollouts</title></head><body>\n'
        f"<h1>{html.escape(_headline(digest))}</h1>\n"
        f"<table>\n<tr>{head}</tr>\n{rows}\n</table>\n"
        f"<h2>The next night</h2>\n<ul>\n{following}\n</ul>\n</body></html>\n"
    )


def _headline(digest: Digest) -> str:
    """What somebody in a hurry reads: how many of which, and what needs a person first."""
    outcomes = [each.outcome for service in digest.services for each in service.ended]
    counted = [f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes)]
    counted += [f"{n} still going on" for n in [sum(bool(each.doing) for each in digest.services)] if n]
    counted += [f"{n} that nobody sees" for n in [sum(bool(each.unknown) for each in digest.services)] if n]
    what = ", ".join(counted) or "no rollout"
    return (
        f"Rollouts from {local_and_utc(digest.since, digest.zone)} "
        f"to {local_and_utc(digest.until, digest.zone)}: {what}"
    )


def _lines(digest: Digest) -> Iterable[Sequence[str]]:
    """The cells of each line; a service has one for each of its runs, or one that says why there is none."""
    for service in digest.services:
        for each in service.ended:
            yield _of_run(service.name, each, digest.zone)
        if service.doing:
            yield service.name, "", "", "now", "", service.doing, ""
        elif service.unknown:
            words = f"nobody knows whether a rollout goes on: {service.unknown}"
            yield service.name, "", "", "now", "", words, ""
        elif service.waits:
            yield service.name, "", "", "", "", f"not started: {service.waits}", ""
        elif not service.ended:
            yield service.name, "", "", "", "", "no rollout", ""


def _of_run(name: str, ended: Ended, zone: str) -> Sequence[str]:
    cost = ended.cost
    return (
        name,
        ended.stable,
        f"{ended.canary} ({ended.version})" if ended.version else ended.canary,
        local_and_utc(ended.began, zone),
        spoken(ended.ended - ended.began),
        f"{ended.outcome}: {ended.why}" if ended.why else ended.outcome,
        _spent(cost) if cost else "",
    )


def _spent(cost: Cost) -> str:
    bad = f"{cost.badly_served} requests badly served"
    if cost.stable_hours is None or cost.canary_hours is None:
        return bad
    return f"{cost.stable_hours:.2f} + {cost.canary_hours:.2f} accelerator-hours, {bad}"


def _went_well(ended: Mapping[str, Sequence[Ended]], name: str) -> bool:
    told = worth_telling(ended.get(name, ()))
    return bool(told) and (told[-1].outcome == PROMOTED or told[-1].nothing_new)


def _fared(ended: Sequence[Ended]) -> str:
    told = worth_telling(ended)
    return f"ended {told[-1].outcome}" if told else "has not ended"


def _row(cells: Iterable[str], written: Any) -> str:
    return f"| {' | '.join(written(cell) for cell in cells)} |"


def _canaries(judgements: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (each["canary"] for each in judgements if each.get("canary"))
