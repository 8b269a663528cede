"""The decision record: all that a judge knew and concluded, as canonical JSON lines that can be judged again.

The first line has the rules of a step, each later one an observation: the windows since the line before, the
health it saw and its judgement. `replay` computes the judgements anew; they are the same, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.judge import absorb, begin, conclude
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import Health, Policy, StepContext
from inference_rollouts.core.judging.queries import Query
from inference_rollouts.core.judging.sums import Carried

EVERY = 60.0  # seconds after which an observation is recorded even if it changed nothing
BOUND = 256 * 1024  # bytes of a record that goes where space is short


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class DecisionRecorder:
    """Collects one step's record in `lines`. It does no I/O: store what `observation` returns."""

    def __init__(
        self,
        policy: Policy,
        metric_set: MetricSet,
        step: StepContext,
        carried: Carried,
        queries: Sequence[Query],
    ) -> None:
        head = {
            "kind": "step",
            "policy": policy.to_json(),
            "metric_set": metric_set.to_json(),
            "step": step.to_json(),
            "carried": carried.to_json(),
            "queries": {query.key: query.promql for query in queries},
        }
        self.lines = [canonical(head)]
        self._windows: list[WindowCounts] = []
        self._last: Judgement | None = None

    def window(self, window: WindowCounts) -> None:
        """A window that the next judgement knows of."""
        self._windows.append(window)

    def observation(self, health: Health, judgement: Judgement) -> str | None:
        """The new line, or None when nothing changed and the last line is younger than a minute."""
        if self._last and not _worth_a_line(self._last, judgement):
            return None
        line = canonical(_observation(self._windows, health, judgement))
        self.lines.append(line)
        self._windows, self._last = [], judgement
        return line


def replay(lines: Iterable[str]) -> list[str]:
    """The record as it would be written today, from its rules, windows and health alone.

    Equal to `lines` when nothing was changed. Raises DecisionRecordBroken when lines are missing, or
    unreadable.
    """
    given = list(lines)
    try:
        head, *observations = (json.loads(line) for line in given)
        if head["kind"] != "step" or any(line["kind"] != "observation" for line in observations):
            raise DecisionRecordBroken("this record was shortened; only a whole one can be judged again")
        sums = begin(
            Policy.from_json(head["policy"]),
            MetricSet.from_json(head["metric_set"]),
            StepContext.from_json(head["step"]),
            Carried.from_json(head["carried"]),
        )
        again = [canonical(head)]
        for seen in observations:
            windows = [WindowCounts.from_json(window) for window in seen["windows"]]
            sums = reduce(absorb, windows, sums)
            health = Health.from_json(seen["health"])
            judgement = conclude(sums, health, seen["judgement"]["time"])
            again.append(canonical(_observation(windows, health, judgement)))
    except DecisionRecordBroken:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise DecisionRecordBroken(f"this is not a decision record: {error}") from error
    return again


def bounded(lines: Sequence[str], limit: int = BOUND) -> list[str]:
    """At most `limit` bytes: rules and newest observations, with a line that counts what is missing."""
    if sum(len(line.encode()) + 1 for line in lines) <= limit:
        return list(lines)
    head, *observations = lines
    room = limit - len(head.encode()) - 64
    kept: list[str] = []
    for line in reversed(observations):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return [head, canonical({"kind": "gap", "observations": len(observations) - len(kept)}), *reversed(kept)]


def _worth_a_line(last: Judgement, now: Judgement) -> bool:
    changed = (last.verdict, last.blame) != (now.verdict, now.blame)
    return changed or now.time - last.time >= EVERY


def _observation(windows: Sequence[WindowCounts], health: Health, judgement: Judgement) -> dict[str, Any]:
    return {
        "kind": "observation",
        "windows": [window.to_json() for window in windows],
        "health": health.to_json(),
        "judgement": judgement.to_json(),
    }
