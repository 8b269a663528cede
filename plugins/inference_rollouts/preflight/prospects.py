"""Will it finish? By the traffic of the hours in which a rollout is to move, as they were a week before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inference_rollouts.clients import Clients
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.counters import last_window
from inference_rollouts.core.judging.counts import shortened
from inference_rollouts.core.judging.power import Traffic, traffic_of
from inference_rollouts.core.judging.promotion import late, likely_bakes
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.schedule.moves import next_raise
from inference_rollouts.core.schedule.outlook import prospect
from inference_rollouts.preflight.capacity import rooms_for
from inference_rollouts.preflight.measuring import strangers
from inference_rollouts.rollout.capacity import load_over
from inference_rollouts.rollout.observation import exporters_of, snapshot_at_home
from inference_rollouts.rollout.pods import pods_of

WEEK = 7 * 86400.0
HOUR = 3600  # seconds of those hours that are looked at


def prospects(clients: Clients, frozen: Frozen, now: float) -> list[str]:
    """What people should know of a rollout that waits for windows; nothing where none restrict it."""
    if not frozen.calendar.restricts:
        return []
    first = next_raise(frozen.calendar, 1, now)
    usual = _traffic(clients.prometheus, frozen, first - WEEK)
    if not usual:
        return ["Of the same hours a week before nothing is counted, so nobody knows what they will show."]
    by_load = _by_load(clients, frozen, first - WEEK)
    return [*_by_traffic(frozen, usual, first), *_by_strangers(clients, frozen, now), *by_load]


def _traffic(prometheus: Prometheus, frozen: Frozen, since: float) -> Mapping[str, Traffic]:
    """What stable counted in an hour; nothing where nobody knows."""
    plan = frozen.plan
    try:
        answers = [snapshot_at_home(prometheus, frozen, since + at) for at in (-60, 0, HOUR)]
    except PrometheusUnavailable:
        return {}
    arms = frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
    seen = last_window(frozen.metric_set, *arms, answers)
    return traffic_of(frozen.metric_set, [seen] if seen else [])


def _by_traffic(frozen: Frozen, usual: Mapping[str, Traffic], first: float) -> Iterator[str]:
    plan = frozen.plan
    bakes = likely_bakes(plan.analysis, frozen.metric_set, plan.all_steps, usual)
    likely = [plan.initial_delay + bake for bake in bakes]
    requests = usual.get(frozen.metric_set.errors)
    rate = f" ({requests.rate:.1f} requests/s)" if requests else ""
    expected = prospect(frozen.calendar, likely, first)
    yield f"At the traffic of the same hours a week before{rate} {expected}"
    yield from (
        f"In those hours: {words}" for words in late(plan.analysis, frozen.metric_set, plan.all_steps, usual)
    )


def _by_strangers(clients: Clients, frozen: Frozen, now: float) -> Iterator[str]:
    """Which pods were there a week before is not known, but whether others count under these names is."""
    try:
        newest = snapshot_at_home(clients.prometheus, frozen, now)
    except PrometheusUnavailable:
        return
    if names := sorted(strangers(frozen, newest, exporters_of(clients.cluster, frozen))):
        yield (
            "That may be more than the traffic of this cluster: the metrics store knows such pools of others "
            f"(pods {shortened(names)})."
        )


def _by_load(clients: Clients, frozen: Frozen, since: float) -> Iterator[str]:
    """Where a pool would be too small for the requests in flight of those hours."""
    if not isinstance(frozen.plan, PoolPlan):
        return
    load = load_over(clients.prometheus, frozen, since + HOUR, HOUR)
    if load is None:
        return
    ready = ready_pods(pods_of(clients.cluster, frozen.plan.stable))
    for room in rooms_for(frozen, ready, load):
        if not room.enough:
            yield f"In those hours raises would wait for room: {room.message}; {room.needed} are needed."
