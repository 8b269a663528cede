"""Several metric sets counted at once: each knows its own answers, pods, arms and delay."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inference_rollouts.core.judging.counters import Counters, last_window
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import CANARY, STABLE, rate_samples, sample, with_gateway

BOTH = with_gateway()


def sent(pool: str, total: float, bad: float | None = None, instance: str = "g", **more: str) -> list[Sample]:
    """What a replica of the gateway says of a pool."""
    labels = {"cluster": f"default_{pool}", "instance": instance, **more}
    counted = {"total": total} if bad is None else {"total": total, "bad": bad}
    return [(labels | {"series": f"gateway_errors/{part}/0"}, value) for part, value in counted.items()]


def servers(canary: float, stable: float) -> list[Sample]:
    started = [sample(arm, pod, "started", 1.0) for arm, pod in ((CANARY, "c"), (STABLE, "s"))]
    return [*started, *rate_samples(CANARY, "c", canary, 0), *rate_samples(STABLE, "s", stable, 0)]


def answer(time: float, own: list[Sample], gateway: list[Sample]) -> Snapshot:
    return Snapshot(time, {"counts": own, "counts/gateway": gateway})


def observed(
    *answers: Snapshot, metric_set: Any = BOTH, begun: float = -math.inf
) -> list[WindowCounts | None]:
    counters = Counters(metric_set, CANARY, STABLE, begun)
    return [counters.observe(each) for each in answers]


def errors(window: WindowCounts | None, name: str = "gateway_errors") -> tuple[int, int, int]:
    """The canary's and its bad requests, and stable's."""
    assert window
    counts = window.counts[name]
    return counts.canary.n, counts.canary.bad[0], counts.stable.n


def test_what_never_reached_a_server_is_counted_where_it_was_sent() -> None:
    *_, window = observed(
        answer(0, servers(0, 0), sent("new", 0, 0) + sent("old", 0, 0)),
        answer(10, servers(3, 190), sent("new", 10, 7) + sent("old", 190, 0)),
    )
    assert errors(window, "errors") == (3, 0, 190)
    assert errors(window) == (10, 7, 190)


def test_replicas_of_a_gateway_are_summed_and_no_pods_of_ours_are_looked_for() -> None:
    def gateways(n: float) -> list[Sample]:
        return [
            each for place in "ab" for each in sent("new", n, n / 2, place) + sent("old", 9 * n, 0, place)
        ]

    counters = Counters(BOTH, CANARY, STABLE)
    own = {("servers", "c"), ("servers", "s")}
    counters.observe(answer(0, servers(0, 0), gateways(0)), own)
    window = counters.observe(answer(10, servers(1, 9), gateways(10)), own)
    assert errors(window) == (20, 10, 180)
    assert counters.notes == ()


def test_a_gateway_that_restarts_leaves_its_window_uncounted() -> None:
    answers = [
        answer(10 * i, servers(i, i), sent("new", n, 0) + sent("old", n, 0))
        for i, n in enumerate((50, 60, 5, 9))
    ]
    counters = Counters(BOTH, CANARY, STABLE)
    _, first, fallen = (counters.observe(each) for each in answers[:3])
    assert counters.notes == ("errors (gateway): counters of g fell",)
    after = counters.observe(answers[3])
    assert errors(first)[0] == 10
    assert fallen
    assert fallen.counts["gateway_errors"].canary.pods == 0
    assert errors(after)[0] == 4


@pytest.mark.parametrize("restarts", [True, False])
def test_a_gateway_without_errors_any_more_goes_on_being_counted(restarts: bool) -> None:
    """After a restart, or when it has made a pool's cluster anew, it exports none before the first."""
    seen = [(50, 7), (60, 8), (5 if restarts else 70, None), (9 if restarts else 74, None)]
    seen += [(n + 10 * i, bad) for i, bad in ((1, 1), (2, 3)) for n in (9 if restarts else 74,)]
    answers = [
        answer(10 * i, servers(i, i), sent("new", n, bad) + sent("old", 9 * n, 0))
        for i, (n, bad) in enumerate(seen)
    ]
    _, first, gone, after, back, on = observed(*answers)
    assert [w.counts["gateway_errors"].canary.pods for w in (first, gone, after, back, on) if w] == [
        1,
        0,
        1,
        0,
        1,
    ]
    assert errors(first)[:2] == (10, 1)
    assert errors(after)[:2] == (4, 0)
    assert errors(on)[:2] == (10, 2)


def test_a_set_that_is_missing_from_an_answer_reaches_back_in_the_next() -> None:
    gateway = [sent("new", n, 0) + sent("old", 9 * n, 0) for n in (0, 10, 20, 30)]
    _, one, two, three = observed(
        *(answer(10 * i, servers(i, i), [] if i == 2 else each) for i, each in enumerate(gateway))
    )
    assert errors(one)[0] == 10
    assert two
    assert set(two.counts) == {"errors"}
    assert errors(three)[0] == 20
    assert [(w.start, w.end) for w in (one, two, three) if w] == [(0, 10), (10, 20), (20, 30)]


def test_what_a_late_set_saw_before_the_step_is_not_counted() -> None:
    late = with_gateway(delay="15s")
    answers = [
        answer(10.0 * i, servers(i, i), sent("new", 10 * i, 0) + sent("old", 10 * i, 0)) for i in range(5)
    ]
    windows = observed(*answers, metric_set=late, begun=0.0)
    assert [each and "gateway_errors" in each.counts for each in windows] == [None, False, False, True, True]


def test_where_a_store_keeps_what_was_counted_in_a_minute_no_minute_counts_twice() -> None:
    minute = with_gateway(guardrail_only=True, increase_over="60s", delay="30s")
    answers = [answer(15.0 * i, servers(i, i), sent("new", 30, 3) + sent("old", 270, 0)) for i in range(14)]
    windows = observed(*answers, metric_set=minute, begun=0.0)
    counted = [each for each in windows if each and "gateway_errors" in each.counts]
    assert [each.end for each in counted] == [120.0, 180.0]
    assert errors(counted[0]) == (30, 3, 270)


def test_what_was_missed_of_such_a_store_is_wanted_minute_by_minute_and_counted_once() -> None:
    """It was not asked from 60 to 250: a storm at 150 is in no later minute."""
    minute = with_gateway(guardrail_only=True, increase_over="60s")
    counters = Counters(minute, CANARY, STABLE, 0.0)

    def seen(at: float, *keys: str) -> Snapshot:
        grown = sent("new", 30, 30 if at == 180 else 0) + sent("old", 270, 0)
        full = answer(at, servers(at, at), grown)
        return Snapshot(at, {key: full.samples[key] for key in keys or full.samples})

    assert counters.wanted(0, 60) == {"counts/gateway": [0, 60]}
    counted = [counters.observe(seen(at)) for at in (0, 15, 30, 45, 60)]
    assert counters.wanted(0, 250) == {"counts/gateway": [120, 180, 240]}
    counted += [counters.observe(seen(at, "counts/gateway")) for at in (120, 180, 240)]
    counted += [counters.observe(seen(at)) for at in (250, 265)]
    minutes = [(each.end, *errors(each)) for each in counted if each and "gateway_errors" in each.counts]
    assert minutes == [(60, 30, 0, 270), (120, 30, 0, 270), (180, 30, 30, 270), (240, 30, 0, 270)]
    assert sum(each.end - each.start for each in counted if each) == 265
    assert sum(each.counts["errors"].canary.n for each in counted if each and "errors" in each.counts) == 265
    assert counters.wanted(0, 299) == {}


def test_who_had_a_clock_that_was_ahead_wants_the_minutes_of_now_all_the_same() -> None:
    counters = Counters(with_gateway(guardrail_only=True, increase_over="60s"), CANARY, STABLE, 0.0)
    counters.observe(answer(7200.0, [], []))
    assert counters.wanted(0, 60) == {"counts/gateway": [0, 60]}


ISTIO = "outbound|*||{pool}-ip-*.{namespace}.svc"
GKE = "gkegw1-*-{namespace}-{pool}-*-*"


@pytest.mark.parametrize(
    ("value", "new", "old"),
    [
        (ISTIO, "outbound|54321||new-ip-1a2b.default.svc", "outbound|54321||old-ip-3c4d.default.svc"),
        (GKE, "gkegw1-x1y2-default-new-8000-abc1", "gkegw1-x1y2-default-old-8000-def2"),
    ],
)
def test_a_pool_may_be_known_by_a_name_with_words_that_nobody_knows(value: str, new: str, old: str) -> None:
    named = with_gateway(arm={"label": "cluster", "value": value})

    def gateway(n: float) -> list[Sample]:
        other = new.replace("new", "new-2")  # another pool, whose name begins alike
        return [
            each
            for cluster, count in ((new, n), (old, 9 * n), (other, 1000 * n))
            for each in sent("", count, n / 2, cluster=cluster)
        ]

    seen = [answer(10.0 * i, servers(i, i), gateway(20.0 * i)) for i in range(3)]
    assert errors(last_window(named, CANARY, STABLE, seen)) == (20, 10, 180)


def test_all_that_is_a_pool_s_by_such_a_name_counts_as_of_its_several_ports() -> None:
    named = with_gateway(arm={"label": "cluster", "value": ISTIO})

    def gateway(n: float) -> list[Sample]:
        return [
            each
            for pool, count in (("new", n), ("old", 9 * n))
            for port in (54321, 54322)
            for each in sent("", count, n / 2, cluster=f"outbound|{port}||{pool}-ip-1a2b.default.svc")
        ]

    seen = [answer(10.0 * i, servers(i, i), gateway(20.0 * i)) for i in range(3)]
    assert errors(last_window(named, CANARY, STABLE, seen)) == (40, 20, 360)
