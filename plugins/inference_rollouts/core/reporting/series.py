"""What metrics stores are given of rollouts: families of series, their samples, Prometheus' text format.

Labels name plan, kind and namespace, never a run: there are as many series as plans, however many runs.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Claim, Ending, Phase
from inference_rollouts.core.routing.watch import Progress

COMMON = ("plan", "kind", "namespace")
ASKING = "asking"
"""The phase of a rollout about which a person is asked; the others are those of a claim."""
PHASES = (*(phase.value for phase in Phase), ASKING)
BUCKETS = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 259200.0, 604800.0)
"""Upper bounds of durations in seconds: from a minute, as in a lab, to a week, with windows."""

LONGEST_TAG = 40
_NO_TAG = re.compile(r"[^A-Za-z0-9_.\-/]")


class Type(StrEnum):
    """What a family's samples are, in Prometheus' words."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one name."""

    name: str
    type: Type
    about: str
    labels: tuple[str, ...] = COMMON


INFO = Family(
    "inference_rollout_info", Type.GAUGE, "1 for each rollout in flight.", (*COMMON, "stable", "canary")
)
WEIGHT = Family(
    "inference_rollout_weight_ratio",
    Type.GAUGE,
    "The canary's share, 0 to 1, as the weights ask for it and as it was observed (here kind says which).",
)
EVIDENCE = Family(
    "inference_rollout_evidence",
    Type.GAUGE,
    "Evidence by metric (all: together) and question: worse than stable, or good enough to promote.",
    (*COMMON, "metric", "question"),
)
VERDICT = Family(
    "inference_rollout_verdict",
    Type.GAUGE,
    "1 for the judge's verdict, 0 for all others.",
    (*COMMON, "verdict"),
)
PHASE = Family(
    "inference_rollout_phase", Type.GAUGE, "1 for the phase it is in, 0 for all others.", (*COMMON, "phase")
)
UNWATCHED = Family(
    "inference_rollout_unwatched_seconds", Type.GAUGE, "For how long nobody has watched the rollout."
)
OUTCOMES = Family(
    "inference_rollout_outcomes_total",
    Type.COUNTER,
    "Rollouts that have ended, by how and why.",
    (*COMMON, "outcome", "reason"),
)
DURATION = Family(
    "inference_rollout_duration_seconds",
    Type.HISTOGRAM,
    "How long rollouts took, from preflight to their end.",
    (*COMMON, "outcome"),
)
CLAIMED = Family("inference_rollouts_claimed", Type.GAUGE, "Rollouts in flight.", ())
GUARDED = Family("inference_rollouts_guarded", Type.GAUGE, "Rollouts that this guardian watches itself.", ())
ENDED = Family("inference_rollouts_ended_total", Type.COUNTER, "Rollouts that this guardian ended.", ("how",))
FAMILIES = (
    INFO,
    WEIGHT,
    EVIDENCE,
    VERDICT,
    PHASE,
    UNWATCHED,
    OUTCOMES,
    DURATION,
    CLAIMED,
    GUARDED,
    ENDED,
)


class Reason(StrEnum):
    """Why a rollout ended, in a word; a report has the sentence."""

    PASSED = "passed"
    ALARM = "alarm"
    DRIFT = "drift"
    PERSON = "person"
    REFUSED = "refused"
    FAILURE = "failure"
    ABANDONED = "abandoned"
    """Nobody drove it any more, and a guardian ended it."""
    OTHER = "other"
    """Who knows claims alone cannot tell: drift, a person, or a task that failed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `suffix` follows the family's name in a histogram."""

    family: Family
    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A rollout at one moment; `unwatched` in seconds, None where nobody asked."""

    plan: str
    kind: str
    namespace: str
    stable: str
    canary: str
    phase: Phase
    percent: int
    progress: Progress | None
    unwatched: float | None = None

    @property
    def common(self) -> dict[str, str]:
        """The labels of all its series."""
        return {"plan": self.plan, "kind": self.kind, "namespace": self.namespace}


@dataclass(frozen=True, slots=True)
class Closed:
    """A rollout that has ended: `common` labels, how and why, after how many seconds if that is known."""

    common: Mapping[str, str]
    outcome: str
    reason: Reason
    seconds: float | None


def reading_of(claim: Claim, namespace: str, progress: Progress | None, unwatched: float) -> Reading:
    """By what the cluster remembers."""
    return Reading(
        plan=claim.plan,
        kind=claim.kind,
        namespace=namespace,
        stable=claim.stable,
        canary=claim.canary,
        phase=claim.phase,
        percent=claim.percent,
        progress=progress if progress and progress.step == claim.step else None,
        unwatched=unwatched,
    )


def reading_of_status(plan: Plan, status: Status) -> Reading:
    """By what a run's own task sees."""
    return Reading(
        plan=plan.name,
        kind=plan.kind.value,
        namespace=plan.namespace,
        stable=plan.stable,
        canary=plan.canary,
        phase=status.phase,
        percent=status.percent,
        progress=status.progress,
    )


def outcome_label(outcome: Outcome) -> str:
    """An outcome as a label's value; one that gateways have not confirmed yet is one all the same."""
    known = Outcome.ROLLED_BACK if outcome is Outcome.UNCONFIRMED else outcome
    return known.value.replace(" ", "-")


def tags(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as Airflow's own metrics take them.

    For StatsD it writes tags into the name, and drops a name that is longer than 250 characters or has others
    than these, with a traceback in the task's log each time. A value that is too long keeps its beginning,
    and a mark by which it is known from others that begin so.
    """
    return {name: _short(_NO_TAG.sub("_", value)) for name, value in labels.items()}


def _short(value: str) -> str:
    if len(value) <= LONGEST_TAG:
        return value
    return f"{value[: LONGEST_TAG - 7]}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"


def closed_by_run(plan: Plan, outcome: Outcome, reason: Reason, seconds: float | None) -> Closed:
    """How a run ended, as its own report has it."""
    common = {"plan": plan.name, "kind": plan.kind.value, "namespace": plan.namespace}
    return Closed(common, outcome_label(outcome), reason, seconds)


def closed_by_claim(claim: Claim, namespace: str, ending: Ending | None, at: float, why: Reason) -> Closed:
    """How a rollout ended whose last claim this was, `at` (Unix seconds); no `ending`: somebody let it go.

    `why` it went back, where no alarm stands on the claim.
    """
    match ending:
        case Ending.PROMOTED:
            outcome, reason = Outcome.PROMOTED, Reason.PERSON if claim.undo else Reason.PASSED
        case Ending.RESTORED:
            outcome, reason = Outcome.ROLLED_BACK, Reason.ALARM if claim.alarm else why
        case None:
            outcome, reason = Outcome.LET_GO, Reason.OTHER
    return Closed(
        common={"plan": claim.plan, "kind": claim.kind, "namespace": namespace},
        outcome=outcome_label(outcome),
        reason=reason,
        seconds=max(0.0, at - claim.began) if claim.began and at else None,
    )


CLOSINGS = (
    (Outcome.PROMOTED, Reason.PASSED),
    (Outcome.PROMOTED, Reason.PERSON),
    (Outcome.ROLLED_BACK, Reason.ALARM),
    (Outcome.ROLLED_BACK, Reason.ABANDONED),
    (Outcome.ROLLED_BACK, Reason.OTHER),
    (Outcome.LET_GO, Reason.OTHER),
)
"""All that `closed_by_claim` says: counted from 0 on, as a rate sees no counter that begins with 1."""


def samples(reading: Reading) -> Iterator[Sample]:
    """The gauges of a rollout in flight."""
    common, progress = reading.common, reading.progress
    yield Sample(INFO, {**common, "stable": reading.stable, "canary": reading.canary}, 1)
    yield Sample(WEIGHT, {**common, "kind": "asked"}, reading.percent / 100)
    if progress and progress.observed is not None:
        yield Sample(WEIGHT, {**common, "kind": "observed"}, progress.observed)
    asking = bool(progress and progress.asks and reading.phase is Phase.PROGRESSING)
    phase = ASKING if asking else reading.phase.value
    yield from (Sample(PHASE, {**common, "phase": each}, each == phase) for each in PHASES)
    if progress:
        yield from _judged(common, progress)
    if reading.unwatched is not None:
        yield Sample(UNWATCHED, common, reading.unwatched)


def _judged(common: Mapping[str, str], progress: Progress) -> Iterator[Sample]:
    for verdict in Verdict:
        label = verdict.value.replace(" ", "-")
        yield Sample(VERDICT, {**common, "verdict": label}, verdict.value == progress.verdict)
    yield Sample(EVIDENCE, {**common, "metric": "all", "question": "worse"}, progress.evidence)
    for each in progress.metrics:
        yield Sample(EVIDENCE, {**common, "metric": each.metric, "question": "worse"}, each.worse)
        if each.good is not None:
            yield Sample(EVIDENCE, {**common, "metric": each.metric, "question": "good-enough"}, each.good)


@dataclass(slots=True)
class Tally:
    """Counts ends, and how long they took, since this process began."""

    _outcomes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _seconds: dict[tuple[str, ...], list[float]] = field(default_factory=dict)

    def expect(self, reading: Reading) -> None:
        """A rollout is in flight: from now on its plan's counts are shown, also those that are 0."""
        common = tuple(reading.common[name] for name in COMMON)
        for outcome, reason in CLOSINGS:
            self._outcomes[*common, outcome_label(outcome), reason.value] += 0
            self._durations(*common, outcome_label(outcome))

    def add(self, closed: Closed) -> None:
        """One more end."""
        common = tuple(closed.common[name] for name in COMMON)
        self._outcomes[*common, closed.outcome, closed.reason.value] += 1
        if closed.seconds is not None:
            row = self._durations(*common, closed.outcome)
            for place, bound in enumerate(BUCKETS):
                row[place] += closed.seconds <= bound
            row[-2] += 1
            row[-1] += closed.seconds

    def _durations(self, *labels: str) -> list[float]:
        """Ends within each of BUCKETS, all ends, and their seconds."""
        return self._seconds.setdefault(labels, [0.0] * (len(BUCKETS) + 2))

    def samples(self) -> Iterator[Sample]:
        """Counters and histograms as they stand."""
        for key, count in sorted(self._outcomes.items()):
            yield Sample(OUTCOMES, dict(zip(OUTCOMES.labels, key, strict=True)), count)
        for series, row in sorted(self._seconds.items()):
            labels = dict(zip(DURATION.labels, series, strict=True))
            for bound, below in zip([f"{bound:g}" for bound in BUCKETS] + ["+Inf"], row, strict=False):
                yield Sample(DURATION, {**labels, "le": bound}, below, "_bucket")
            yield Sample(DURATION, labels, row[-1], "_sum")
            yield Sample(DURATION, labels, row[-2], "_count")


def exposition(given: Iterable[Sample]) -> str:
    """Prometheus' text format 0.0.4. Of several samples of one series the last is left."""
    unique = {(each.family.name, each.suffix, tuple(sorted(each.labels.items()))): each for each in given}
    order = {family.name: place for place, family in enumerate(FAMILIES)}
    in_order = sorted(unique.values(), key=lambda each: order[each.family.name])
    lines = []
    for family, members in groupby(in_order, key=lambda each: each.family):
        lines += [
            f"# HELP {family.name} {_escaped(family.about)}",
            f"# TYPE {family.name} {family.type.value}",
        ]
        lines += map(_line, members)
    return "".join(f"{line}\n" for line in lines)


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels.items())
    name = f"{sample.family.name}{sample.suffix}"
    return f"{name}{{{labels}}} {sample.value:.15g}" if labels else f"{name} {sample.value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
