"""How long it takes at a given traffic to show that a good canary is good enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from inference_rollouts.core.judging.judgement import lasting
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.policy import Policy, Step
from inference_rollouts.core.judging.power import CALM_KAPPA, OVERSHOOT, Traffic, expected_nats
from inference_rollouts.core.judging.running import CREDIT, margin_of
from inference_rollouts.core.judging.tolerance import expected


def promotion_seconds(
    policy: Policy, metric_set: MetricSet, steps: Sequence[Step], traffic: Mapping[str, Traffic]
) -> dict[str, float]:
    """By metric: how long the last compared step takes, with middling luck, until a canary that is as good as
    stable is shown not to be worse by the margin. Infinite where traffic shows nothing. Rates are shown
    together.
    """
    compared = [step for step in steps if step.compared]
    judged = [m for m in metric_set.compared if m.name in traffic and not m.optional]
    if policy.margin is None or not compared:
        return {}
    kappa = CALM_KAPPA if policy.kappa == "estimate" else policy.kappa
    need = OVERSHOOT * math.log(1 / policy.beta) / kappa
    together = {m.name for m in judged if isinstance(m, Rate)}
    out = {}
    for metric in judged:
        members = together if metric.name in together else {metric.name}
        pace = [
            max(_pace(policy, metric_set, members, step, traffic), _negligible(metric, step, traffic))
            for step in compared
        ]
        before = sum(rate * step.bake for rate, step in zip(pace[:-1], compared, strict=False))
        left = max(need - before, need * (1 - CREDIT))
        out[metric.name] = max(left / pace[-1] if pace[-1] else math.inf, compared[-1].bake)
    return out


def likely_bakes(
    policy: Policy, metric_set: MetricSet, steps: Sequence[Step], traffic: Mapping[str, Traffic]
) -> tuple[float, ...]:
    """For how long each step bakes with a good canary (s): as long as it says; the last compared one until
    the canary is shown to be good enough, or the deadline has come.
    """
    proof = max(promotion_seconds(policy, metric_set, steps, traffic).values(), default=0.0)
    last = max((number for number, step in enumerate(steps) if step.compared), default=None)
    return tuple(
        min(max(step.bake, proof), step.bake + policy.progress_deadline) if number == last else step.bake
        for number, step in enumerate(steps)
    )


def late(
    policy: Policy, metric_set: MetricSet, steps: Sequence[Step], traffic: Mapping[str, Traffic]
) -> list[str]:
    """A sentence when a good canary is not likely to be shown good before the deadline; else none."""
    times = promotion_seconds(policy, metric_set, steps, traffic)
    compared = [step for step in steps if step.compared]
    if not times:
        return []
    slowest = max(times, key=lambda name: times[name])
    limit = compared[-1].bake + policy.progress_deadline
    if times[slowest] <= limit:
        return []
    ends = {"ask": "a person is asked", "rollback": "it is rolled back", "advance": "it goes on unproven"}
    label = next(metric.label for metric in metric_set.compared if metric.name == slowest)
    ever = math.isfinite(times[slowest])
    after = (
        f"shown to be good enough after {lasting(times[slowest])}"
        if ever
        else "never shown to be good enough"
    )
    return [
        f"At this traffic a good canary is {after} at {compared[-1]} ({label}); "
        f"the deadline is after {lasting(limit)}, "
        f"and then {ends[policy.on_timeout]}."
    ]


def _pace(
    policy: Policy, metric_set: MetricSet, names: set[str], step: Step, traffic: Mapping[str, Traffic]
) -> float:
    """nats/s of all these metrics together, each at the threshold that says the most."""
    assert policy.margin is not None
    null = np.array(math.log1p(policy.margin))
    copies, nats = 1 + step.mirror / 100, 0.0
    for name in names:
        shares = traffic[name].shares
        margins = margin_of(null, *expected(policy, metric_set[name], shares))
        each = (expected_nats(p, 0.0, m, step.share) for p, m in zip(shares, margins, strict=True))
        nats += traffic[name].rate * max(each)
    return copies * nats


def _negligible(metric: Rate | Latency, step: Step, traffic: Mapping[str, Traffic]) -> float:
    """nats/s that the canary's bad share is negligible, at the threshold that says the least."""
    limit, usual = metric.negligible, traffic[metric.name]
    shares = [max(share, 1e-9) for share in usual.shares]
    if not limit or max(shares) >= limit:
        return 0.0
    worst = min(p * math.log(p / limit) + (1 - p) * math.log((1 - p) / (1 - limit)) for p in shares)
    return worst * usual.rate * step.share * (1 + step.mirror / 100)
