"""The decision record: everything a judge knew and said, as canonical JSON lines that can be judged again.

The first line holds the rules of a step, each later one a look: the windows since the line before, the
health it saw and its judgement. `replay` computes the judgements anew; they are the same, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.judge import absorb, begin, conclude
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.judging.metrics import MetricSet, Query
from inference_rollouts.core.judging.policy import Health, Policy, StepContext
from inference_rollouts.core.judging.sums import Carried

EVERY = 60.0  # seconds after which a look is recorded even if it changed nothing
BOUND = 256 * 1024  # bytes of a record that goes where space is short


class RecordBroken(ValueError):
    """Lines that are not a whole record, or were changed; the message says where."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, finite numbers only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


class Recorder:
    """Collects one step's record in `lines`. It does no I/O: store what `look` returns."""

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

    def look(self, health: Health, judgement: Judgement) -> str | None:
        """The new line, or None when this look changed nothing and the last line is younger than a minute."""
        if self._last and not _worth_a_line(self._last, judgement):
            return None
        line = canonical(_look(self._windows, health, judgement))
        self.lines.append(line)
        self._windows, self._last = [], judgement
        return line


def replay(lines: Iterable[str]) -> list[str]:
    """The record as it would be written today, from its rules, windows and health alone.

    Equal to `lines` when nothing was changed. Raises RecordBroken when lines are missing or unreadable.
    """
    given = list(lines)
    try:
        head, *looks = (json.loads(line) for line in given)
        if head["kind"] != "step" or any(look["kind"] != "look" for look in looks):
            raise RecordBroken("this record was shortened; only a whole one can be judged again")
        tally = begin(
            Policy.from_json(head["policy"]),
            MetricSet.from_json(head["metric_set"]),
            StepContext.from_json(head["step"]),
            Carried.from_json(head["carried"]),
        )
        found = [canonical(head)]
        for look in looks:
            windows = [WindowCounts.from_json(window) for window in look["windows"]]
            tally = reduce(absorb, windows, tally)
            health = Health.from_json(look["health"])
            found.append(
                canonical(_look(windows, health, conclude(tally, health, look["judgement"]["time"])))
            )
    except RecordBroken:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise RecordBroken(f"this is not a decision record: {error}") from error
    return found


def bounded(lines: Sequence[str], limit: int = BOUND) -> list[str]:
    """At most `limit` bytes: the rules and the newest looks, with a line that says how many are left out."""
    if sum(len(line.encode()) + 1 for line in lines) <= limit:
        return list(lines)
    head, *looks = lines
    room = limit - len(head.encode()) - 64
    kept: list[str] = []
    for line in reversed(looks):
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return [head, canonical({"kind": "gap", "looks": len(looks) - len(kept)}), *reversed(kept)]


def _worth_a_line(last: Judgement, now: Judgement) -> bool:
    changed = (last.verdict, last.blame) != (now.verdict, now.blame)
    return changed or now.time - last.time >= EVERY


def _look(windows: Sequence[WindowCounts], health: Health, judgement: Judgement) -> dict[str, Any]:
    return {
        "kind": "look",
        "windows": [window.to_json() for window in windows],
        "health": health.to_json(),
        "judgement": judgement.to_json(),
    }
