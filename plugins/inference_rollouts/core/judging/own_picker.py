"""Does the canary's own endpoint picker see the canary's requests?

Some gateways ask one picker for all pools of a rule. The split is right then and the servers answer, but what
the canary will do with its own picker, once it is alone, nobody has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.split import Requests

NEARLY_NONE = 0.05  # of what the servers answered


def unasked_picker(metric_set: MetricSet, windows: Sequence[Requests], least: int) -> str:
    """The sentence of a picker that saw nearly none of the latest `least` requests; else an empty one.

    Empty too where no metric set of pickers judges beside one of servers.
    """
    if not (both := served_and_picked(metric_set)):
        return ""
    served, picked = both
    answered = seen = 0
    for window in reversed(windows):
        answered, seen = answered + _requests(window, served), seen + _requests(window, picked)
        if answered >= least:
            break
    if answered < least or seen > NEARLY_NONE * answered:
        return ""
    return (
        f"The canary's own endpoint picker saw {seen} of the {answered} requests that its servers answered: "
        "the gateway asks another picker, or none."
    )


def served_and_picked(metric_set: MetricSet) -> tuple[str, str] | None:
    """The metrics that count what servers answered and what pickers saw; None where not both judge."""
    served, picked = _errors(metric_set, "servers"), _errors(metric_set, "pickers")
    return (served, picked) if served and picked else None


def _errors(metric_set: MetricSet, exporters: str) -> str | None:
    """The metric that counts the requests of one kind of exporter."""
    return next((each.errors for each in metric_set.sets if each.exporters == exporters), None)


def _requests(window: Requests, metric: str) -> int:
    return window.counts.get(metric, (0, 0))[0]
