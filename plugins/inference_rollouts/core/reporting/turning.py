"""What would change the verdict: sentences about what is missing, and about what would be too much."""

from __future__ import annotations

import math
from collections.abc import Iterator

from inference_rollouts.core.durations import spoken
from inference_rollouts.core.judging.counterfactual import failures_to_alarm
from inference_rollouts.core.judging.judgement import Judgement, Row, figure
from inference_rollouts.core.judging.sums import Sums


def turning_points(sums: Sums, judgement: Judgement) -> list[str]:
    """None where the verdict is final; of a step that has passed and is watched on, what would alarm."""
    if judgement.verdict.final:
        return []
    passing = [] if sums.step.resumed else _for_passing(sums, judgement)
    return [*passing, *_for_alarm(sums, judgement)]


def _for_passing(sums: Sums, judgement: Judgement) -> Iterator[str]:
    policy, step = sums.rules.policy, sums.step
    if judgement.progress < 1:
        baked = math.floor(judgement.progress * step.bake)
        yield f"To pass: all of {spoken(step.bake)} bake time, {spoken(baked)} so far."
    for side, totals in (("the canary", judgement.canary), ("stable", judgement.stable)):
        missing = policy.min_requests - totals.requests
        if missing > 0 and (step.compared or side == "the canary"):
            yield f"To pass: {missing} more requests on {side}, of {policy.min_requests} that a step needs."
    yield from (_for_proof(row) for row in judgement.rows if _lacks_proof(row))


def _lacks_proof(row: Row) -> bool:
    return row.goodness is not None and row.needed is not None and row.goodness < row.needed


def _for_proof(row: Row) -> str:
    assert row.goodness is not None
    assert row.needed is not None
    have = figure(row.goodness)
    return f"To pass: proof that {row.title} is good enough, {have} of {figure(row.needed)} so far."


def _for_alarm(sums: Sums, judgement: Judgement) -> Iterator[str]:
    more = judgement.alarm_at / max(judgement.evidence, 1e-9)
    have, need = figure(judgement.evidence), figure(judgement.alarm_at)
    yield f"To alarm: evidence {have} would have to grow {figure(more)} times, to {need}."
    failed = failures_to_alarm(sums)
    if failed is not None:
        last = sums.last
        assert last is not None
        window = spoken(max(1.0, last.end - last.start))
        yield f"To alarm: {failed} more failed requests of the canary within {window} would be enough."
