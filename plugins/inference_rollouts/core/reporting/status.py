"""Where a rollout is, as one value: a headline for people, and the figures behind it.

It is made of what the cluster remembers (claims and leases), so that a task, a page and a terminal without
Airflow say the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from inference_rollouts.core.durations import roughly, spoken
from inference_rollouts.core.judging.judgement import Judgement, Verdict, figure
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.routing.claim import Claim, Phase
from inference_rollouts.core.routing.control import aborted, hold_ends
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.core.routing.watch import LONGEST_REASON, MetricEvidence, Progress
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.values import Value

SOME, STRONG = math.sqrt(10), 10.0
"""Evidence from which there are signs, and strong signs, that the canary is worse: Jeffreys' scale of Bayes
factors (Theory of Probability, 1961, appendix B), which Vovk and Wang (2021) recommend for e-values."""


class Status(Value):
    """A rollout at one moment. `headline` says all of it in one line.

    `percent` is the canary's share, `mirror` that of the requests that are copied to it, for `step` of
    `steps` (0: before the first), since `since` (Unix seconds). `progress` is how far the judge of this step
    is, None where nobody judges. `watcher` says who watches; empty where that is not known.
    """

    headline: str
    plan: str
    run: str
    link: str
    stable: str
    canary: str
    phase: Phase
    percent: int
    mirror: int
    step: int
    steps: int
    since: float
    progress: Progress | None
    watcher: str

    @property
    def news(self) -> tuple[object, ...]:
        """What else than time has changed when this has: worth telling at once."""
        return self.phase, self.percent, self.mirror, self.step, self.progress and self.progress.verdict


def status_of(
    claims: Sequence[Claim], progress: Progress | None = None, watcher: str = "", doing: str = ""
) -> Status:
    """The status of a rollout with these claims, one at least, by one that is paused, or behind the others.

    `doing` is what it waits for, where that is not to be seen in a claim.
    """
    claim = min(claims, key=lambda each: (each.phase is not Phase.PAUSED, each.step, each.percent))
    if claim.phase is Phase.PAUSED:
        doing = ""  # whatever else it waits for
    if progress and (progress.step != claim.step or claim.phase is not Phase.PROGRESSING):
        progress = None
    says = [where(claim.percent, claim.mirror, claim.step, claim.steps), doing or _doing(claim, progress)]
    if progress:
        says += _judged(progress)
    if watcher:
        says.append(f"watched by {watcher}")
    return Status(
        headline=" - ".join(says),
        plan=claim.plan,
        run=claim.owner.run,
        link=claim.owner.link,
        stable=claim.stable,
        canary=claim.canary,
        phase=claim.phase,
        percent=claim.percent,
        mirror=claim.mirror,
        step=claim.step,
        steps=claim.steps,
        since=claim.since,
        progress=progress,
        watcher=watcher,
    )


def preparing(frozen: Frozen, doing: str) -> Status:
    """The status of a rollout that has claimed nothing yet."""
    plan = frozen.plan
    steps = len(plan.all_steps)
    return Status(
        headline=f"{where(0, 0, 0, steps)} - {doing}",
        plan=plan.name,
        run=frozen.run,
        link=frozen.link,
        stable=plan.stable,
        canary=plan.canary,
        phase=Phase.PROGRESSING,
        percent=0,
        mirror=0,
        step=0,
        steps=steps,
        since=0.0,
        progress=None,
        watcher="",
    )


def progress_of(
    plan: Plan, judgement: Judgement, observed: float | None = None, *, asks: bool = False
) -> Progress:
    """What a Lease remembers of a judgement, of the observed split, and of a question."""
    step, *following = plan.all_steps[judgement.step - 1 :]
    return Progress(
        step=judgement.step,
        verdict=judgement.verdict.value,
        reason=judgement.reason[:LONGEST_REASON],
        evidence=judgement.evidence,
        alarm_at=judgement.alarm_at,
        baked=judgement.progress * step.bake,
        bake=step.bake,
        following=following[0].weight if following else None,
        observed=observed,
        asks=asks,
        metrics=tuple(
            MetricEvidence(metric=row.metric, worse=row.evidence, good=row.goodness) for row in judgement.rows
        ),
    )


def where(percent: int, mirror: int, step: int, steps: int) -> str:
    """The share of the canary, and the step that gave it: `20 % (step 1 of 3)`."""
    share = f"{mirror} % mirrored" if mirror else f"{percent} %"
    return f"{share} ({f'step {step}' if step else 'before step 1'} of {steps})"


def _doing(claim: Claim, progress: Progress | None) -> str:
    match claim.phase:
        case Phase.RETURNING:
            command = aborted([claim])
            why = f", aborted by {command}" if command else " after an alarm" if claim.alarm else ""
            return f"going back to {claim.stable}{why}"
        case Phase.PAUSED:
            by = f"paused by {claim.command}" if claim.command else "paused"
            return by if claim.paused is None else f"{by}; goes back {_utc(hold_ends(claim))} unless resumed"
    if claim.undo:
        return f"undone by {claim.command}, guardrails watch it"
    if claim.committed:
        return "being promoted"
    if permits(claim):
        return f"passed, {'to be promoted' if claim.step == claim.steps else 'to be raised'}"
    if progress is None:
        return "being judged" if claim.step else "getting ready"
    if progress.baked < progress.bake:
        return f"baking {spoken(progress.baked)} of {spoken(progress.bake)}"
    return f"baked {spoken(progress.bake)}"


def _judged(progress: Progress) -> Iterator[str]:
    """What the judge thinks, on how much evidence, and when the next move is to be expected."""
    baking = progress.baked < progress.bake
    if progress.verdict in (Verdict.NO_DATA, Verdict.ASK, Verdict.ROLLBACK):
        yield progress.reason.rstrip(".")
    yield (
        f"{_signs(progress.evidence)} that it is worse, "
        f"evidence {figure(progress.evidence)} of {figure(progress.alarm_at)}"
    )
    if progress.verdict == Verdict.INCONCLUSIVE and not baking:
        yield progress.reason.rstrip(".")
    if baking and progress.verdict == Verdict.INCONCLUSIVE:
        step = "promotion" if progress.following is None else f"{progress.following} %"
        yield f"next {step} in about {roughly(progress.bake - progress.baked)}"


def _signs(evidence: float) -> str:
    return "no sign" if evidence < SOME else "signs" if evidence < STRONG else "strong signs"


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
