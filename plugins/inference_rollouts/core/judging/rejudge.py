"""What another policy would have made of a rollout, from its decision records.

The new judge sees what the old one saw, window by window. It may decide sooner; where it would have gone on
watching after the record ends, nobody knows what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging.decision_record import StepRecord, refusing
from inference_rollouts.core.judging.judge import Carried, Judgement, Policy, Verdict, absorb, begin, conclude
from inference_rollouts.core.judging.rules import problems
from inference_rollouts.core.judging.sums import carried_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rollout ended: the last verdict, on which `step`, why, and the seconds that its steps were judged
    for, all together.

    One that is not final: it was still being judged where the records end. They may also end with a step that
    passed and is not the last of `steps`.
    """

    verdict: Verdict
    reason: str
    seconds: float
    step: int
    steps: int

    @property
    def promoted(self) -> bool:
        """Whether all steps have passed."""
        return self.verdict is Verdict.ADVANCE and self.step == self.steps

    @property
    def open(self) -> bool:
        """Whether the records end before the rollout does."""
        return not self.promoted and (self.verdict is Verdict.ADVANCE or not self.verdict.final)


def recorded(records: Sequence[StepRecord]) -> Outcome:
    """The outcome as the records of all steps have it, in order. Raises DecisionRecordBroken without any."""
    if not records or not all(record.seen for record in records):
        raise DecisionRecordBroken("there is no observation in these records")
    seconds = sum(record.seen[-1].judgement["time"] - record.step.started_at for record in records)
    last, step = records[-1].seen[-1].judgement, records[-1].step
    return Outcome(Verdict(last["verdict"]), str(last["reason"]), seconds, step.index, step.steps)


def rejudged(records: Sequence[StepRecord], policy: Policy) -> Outcome:
    """The outcome with another policy.

    Raises DecisionRecordBroken when the policy does not fit the metric set, a step does not follow the other,
    or what is recorded cannot be judged.
    """
    carried, seconds = Carried(), 0.0
    outcome = recorded(records)
    for record in records:
        if mistakes := problems(policy, record.metric_set):
            raise DecisionRecordBroken(" ".join(mistakes))
        with refusing():
            judgement, carried = _judged(record, policy, carried)
        seconds += judgement.time - record.step.started_at
        outcome = Outcome(judgement.verdict, judgement.reason, seconds, record.step.index, record.step.steps)
        if judgement.verdict is not Verdict.ADVANCE:
            break
    return outcome


def _judged(record: StepRecord, policy: Policy, carried: Carried) -> tuple[Judgement, Carried]:
    """The first final judgement of a step, or the last one, and what it hands on."""
    try:
        sums = begin(policy, record.metric_set, record.step, carried)
    except ValueError as error:
        raise DecisionRecordBroken(f"the records of the steps do not follow each other: {error}") from error
    judgement = conclude(sums, record.seen[0].health, record.step.started_at)
    for seen in record.seen:
        for window in seen.windows:
            sums = absorb(sums, window)
            judgement = conclude(sums, seen.health, window.end + policy.scrape_delay)
            if judgement.verdict.final:
                return judgement, carried_of(sums, seen.health.restarts)
        judgement = conclude(sums, seen.health, seen.judgement["time"])
        if judgement.verdict.final:
            break
    return judgement, carried_of(sums, seen.health.restarts)


def summary(pairs: Sequence[tuple[Outcome, Outcome]]) -> str:
    """One sentence about rollouts as they were and as they would have been."""
    would = [after for _, after in pairs]
    back = [each for each in would if each.verdict is Verdict.ROLLBACK]
    asked = [each for each in would if each.verdict is Verdict.ASK]
    both = [(b, a) for b, a in pairs if b.promoted and a.promoted]
    open_ones = [each for each in would if each.open]
    words = [f"rolled back {len(back)} of {len(pairs)} rollouts"]
    if both:
        before, after = (median(pair[place].seconds for pair in both) / 60 for place in (0, 1))
        words.append(f"promoted {len(both)} in {after:.3g} instead of {before:.3g} minutes (medians)")
    new = sum(a.promoted and not b.promoted for b, a in pairs)
    words += [f"promoted {new} that were not"] if new else []
    words += [f"asked about {len(asked)}"] if asked else []
    words += [f"been undecided about {len(open_ones)} where the records end"] if open_ones else []
    return f"This policy would have {', '.join(words)}."
