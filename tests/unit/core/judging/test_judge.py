"""Verdicts: from counts, health and time to what happens next."""

import json

import pytest

from inference_rollouts.core.judging.judge import Health, Judgement, Verdict
from inference_rollouts.core.judging.judgement import Opinion, worst
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import (
    HEALTHY,
    NEVER_SURE,
    SMALL,
    counted,
    failing,
    judged,
    policy,
    quiet,
    quiet_windows,
    small_set,
    step,
    window,
)


def test_verdicts_are_ordered_and_the_worst_wins() -> None:
    assert [v.value for v in sorted(Verdict, key=lambda v: v.severity)] == [
        "advance",
        "inconclusive",
        "no data",
        "ask",
        "rollback",
    ]
    first, second = (Opinion(verdict=Verdict.INCONCLUSIVE, reason=reason) for reason in "ab")
    assert worst([Opinion(verdict=Verdict.ADVANCE, reason="c"), first, second]) is first
    assert [v for v in Verdict if not v.final] == [Verdict.INCONCLUSIVE, Verdict.NO_DATA]


def test_a_good_canary_advances_after_its_bake_time_and_not_before() -> None:
    early = judged(quiet_windows(5))
    assert early.verdict is Verdict.INCONCLUSIVE
    assert early.progress == pytest.approx(5 / 6)
    assert early.reason == "Baking: 50 s of 60 s."
    done = judged(quiet_windows(6))
    assert (done.verdict, done.progress) == (Verdict.ADVANCE, 1.0)


@pytest.mark.parametrize("bake", [0.0, 60.0])
def test_a_step_that_need_not_bake_is_judged_in_its_initial_delay_too(bake: float) -> None:
    skipped = HEALTHY.model_copy(update={"bake_skipped": True})
    early = judged([], step=step(bake=bake, initial_delay=30.0), health=skipped, now=5)
    assert (early.verdict, early.progress) == (Verdict.INCONCLUSIVE, 0.0)


def test_a_deadline_says_what_it_counts_from() -> None:
    """Of a bake that was skipped after 90 s nobody can say that it has ended."""
    skipped = HEALTHY.model_copy(update={"bake_skipped": True, "resumed": 90.0})
    few = [quiet(10.0 * i, 1) for i in range(40)]
    for health, words in (
        (HEALTHY, "340 s after the bake time"),
        (skipped, "310 s after a person let it go on"),
    ):
        late = judged(few, health=health, rules={"min_requests": 1000})
        assert late.reason.startswith(f"Undecided {words}, with no alarm: Not enough traffic")


def test_time_without_counts_is_no_bake_time() -> None:
    assert judged(quiet_windows(5), now=65).verdict is Verdict.INCONCLUSIVE


def test_failures_of_the_canary_alone_raise_the_alarm_and_are_blamed() -> None:
    judgement = judged([failing(10.0 * i, 8, 0) for i in range(3)])
    assert (judgement.verdict, judgement.blame) == (Verdict.ROLLBACK, "errors")
    assert judgement.evidence >= judgement.alarm_at == 100
    assert "8 % on the canary, 0 % on stable" in judgement.reason


def test_the_same_failures_on_both_arms_do_not() -> None:
    judgement = judged(
        [failing(10.0 * i, 30, 30) for i in range(6)], rules=NEVER_SURE | {"objectives": False}
    )
    assert (judgement.verdict, judgement.blame) == (Verdict.ADVANCE, None)
    assert judgement.evidence < 1


def test_a_slow_canary_is_blamed_for_its_loudest_threshold() -> None:
    windows = [
        window(
            10.0 * i,
            {"errors": counted(100, 0), "ttft": counted(100, 50, 30)},
            {"errors": counted(100, 0), "ttft": counted(100, 50, 2)},
        )
        for i in range(6)
    ]
    judgement = judged(windows)
    assert (judgement.verdict, judgement.blame) == (Verdict.ROLLBACK, "ttft")
    assert judgement.rows[1].threshold == 1
    assert "ttft over 1 s" in judgement.reason


def test_an_alarm_stands_when_the_data_end() -> None:
    judgement = judged(
        [failing(10.0 * i, 20, 0) for i in range(3)], now=200, health=Health(prometheus_ok=False)
    )
    assert judgement.verdict is Verdict.ROLLBACK


def test_an_objective_is_judged_where_nothing_can_be_compared() -> None:
    """Stable is as bad, or gets no traffic: only the limit of 5 % is left."""
    alone = [
        window(
            10.0 * i,
            {"errors": counted(100, 12), "ttft": counted(100, 20, 5)},
            {"errors": counted(0, 0, pods=0), "ttft": counted(0, 0, 0, pods=0)},
        )
        for i in range(6)
    ]
    full = step(weight=100)
    assert judged(alone, step=full).blame == "errors"
    assert judged(alone, step=full, rules=NEVER_SURE | {"objectives": False}).verdict is Verdict.ADVANCE
    assert (
        "nothing was there to compare"
        in judged(alone, step=full, rules=NEVER_SURE | {"objectives": False}).reason
    )
    assert judged(alone, step=full).warnings == (
        "Nothing is there to compare with: only objectives and guardrails are judged.",
    )


@pytest.mark.parametrize(
    ("health", "verdict", "words"),
    [
        (Health(ready_canary=0, ready_stable=3), Verdict.ROLLBACK, "no ready endpoints"),
        (Health(ready_canary=3, ready_stable=3, canary_outage="No picker."), Verdict.ROLLBACK, "No picker."),
        (
            Health(ready_canary=3, ready_stable=0, canary_outage="No picker."),
            Verdict.ASK,
            "No picker. But stable",
        ),
        (Health(ready_canary=3, ready_stable=3, restarts=3), Verdict.ROLLBACK, "crash: 3 times"),
        (Health(ready_canary=3, ready_stable=3, restarts=2), Verdict.ADVANCE, "No sign"),
        (Health(ready_canary=3, ready_stable=3, route_ok=False), Verdict.ROLLBACK, "route"),
        (Health(ready_canary=3, ready_stable=3, prometheus_ok=False), Verdict.NO_DATA, "metrics store"),
        (Health(), Verdict.NO_DATA, "cluster does not answer"),
        (Health(ready_canary=0, ready_stable=0), Verdict.ROLLBACK, "no ready endpoints"),
        (Health(ready_canary=2, ready_stable=0, restarts=3), Verdict.ASK, "going back would lose"),
        (Health(ready_canary=2, ready_stable=0), Verdict.ADVANCE, "No sign"),
    ],
)
def test_health_decides_within_one_observation(health: Health, verdict: Verdict, words: str) -> None:
    judgement = judged(quiet_windows(6), health=health)
    assert judgement.verdict is verdict
    assert words in judgement.reason


@pytest.mark.parametrize(
    ("canary", "stable", "storm"),
    [
        ((30, 60), (0, 60), True),
        ((10, 10), (0, 60), False),
        ((29, 60), (0, 60), False),
        ((60, 60), (40, 60), False),
    ],
)
def test_a_storm_needs_two_observations(
    canary: tuple[int, int], stable: tuple[int, int], storm: bool
) -> None:
    counts = [{"errors": counted(n, x), "ttft": counted(n, 0, 0)} for x, n in (canary, stable)]
    rules = NEVER_SURE | {"alpha": 1e-200}
    judgement = judged([window(0, *counts), window(10, *counts)], rules=rules)
    assert (judgement.verdict is Verdict.ROLLBACK) == storm
    assert ("storm" in judgement.reason) == storm
    assert "storm" not in judged([quiet(0), window(10, *counts)], rules=rules).reason


def test_a_storm_of_both_arms_whose_scrapes_are_not_aligned_is_none() -> None:
    """Each arm shows it in a window of its own."""
    bad, good = {"errors": counted(60, 60), "ttft": counted(60, 0, 0)}, quiet(0, 60).counts
    fine = {name: counts.stable for name, counts in good.items()}
    windows = [window(0, bad, fine), window(10, bad, bad)]
    assert "storm" not in judged(windows, rules=NEVER_SURE | {"alpha": 1e-200}).reason


def test_little_traffic_is_inconclusive() -> None:
    judgement = judged(quiet_windows(6, n=3))
    assert (judgement.verdict, judgement.reason) == (
        Verdict.INCONCLUSIVE,
        "Not enough traffic: 18 of 20 requests on the canary pool, about 7 s more.",
    )


def test_silence_after_traffic_is_inconclusive() -> None:
    """Counters that no longer move may be frozen: what was good is not known to be so now."""
    silent = [*quiet_windows(3), *(quiet(10.0 * i, 0) for i in range(3, 10))]
    judgement = judged(silent)
    assert (judgement.verdict, judgement.reason) == (
        Verdict.INCONCLUSIVE,
        "The canary pool has counted no request for 70 s.",
    )
    assert judged([*silent, quiet(100, 1)]).verdict is Verdict.ADVANCE
    assert judged(silent[:9]).verdict is Verdict.ADVANCE


def test_no_traffic_at_all_is_inconclusive() -> None:
    assert judged(quiet_windows(6, n=0)).verdict is Verdict.INCONCLUSIVE


def test_a_metric_that_the_canary_does_not_export_is_no_data() -> None:
    silent = [
        window(10.0 * i, {"errors": counted(50, 0), "ttft": counted(0, 0, 0, pods=0)},
               {"errors": counted(50, 0), "ttft": counted(50, 5, 1)})
        for i in range(6)
    ]  # fmt: skip
    judgement = judged(silent)
    assert (judgement.verdict, judgement.blame) == (Verdict.NO_DATA, "ttft")
    assert judgement.reason == "No pod of the canary pool exports ttft."


def test_optional_metrics_may_miss() -> None:
    windows = [
        window(10.0 * i, {"ttft": counted(50, 5, 1)}, {"ttft": counted(50, 5, 1)}).model_copy()
        for i in range(6)
    ]
    judgement = judged(windows, metric_set=small_set(optional=True), rules=NEVER_SURE | {"min_requests": 1})
    assert judgement.verdict is Verdict.INCONCLUSIVE  # requests are counted by that metric
    assert "traffic" in judgement.reason


@pytest.mark.parametrize(
    ("now", "on_timeout", "windows", "verdict"),
    [
        (359, "rollback", [], Verdict.NO_DATA),
        (361, "rollback", [], Verdict.ROLLBACK),
        (361, "ask", [], Verdict.ASK),
        (361, "advance", [], Verdict.ASK),  # missing data never pass
        (361, "advance", quiet_windows(36, n=0), Verdict.ASK),  # nor does silence
        (361, "rollback", quiet_windows(36, n=0), Verdict.ROLLBACK),
        (361, "ask", quiet_windows(36, n=100), Verdict.ADVANCE),
    ],
)
def test_the_progress_deadline_ends_the_waiting(
    now: float, on_timeout: str, windows: list[WindowCounts], verdict: Verdict
) -> None:
    judgement = judged(windows, now=now, rules=NEVER_SURE | {"on_timeout": on_timeout})
    assert judgement.verdict is verdict


def test_a_dead_metrics_store_never_rolls_back_before_the_progress_deadline() -> None:
    dead = Health(ready_canary=3, ready_stable=3, prometheus_ok=False)
    verdicts = [judged(quiet_windows(3), now=now, health=dead).verdict for now in range(30, 361, 10)]
    assert set(verdicts) == {Verdict.NO_DATA}


def test_stale_counts_are_no_data() -> None:
    assert judged(quiet_windows(6), now=90).verdict is Verdict.ADVANCE
    judgement = judged(quiet_windows(6), now=91)
    assert (judgement.verdict, judgement.reason) == (Verdict.NO_DATA, "No counts for 31 s.")


def test_what_lies_ahead_of_the_clock_is_no_data() -> None:
    """A clock that went back, or that of another machine than began the step."""
    assert judged(quiet_windows(6), now=30).verdict is Verdict.ADVANCE
    for judgement in (judged(quiet_windows(6), now=29), judged([], now=-3600)):
        assert judgement.verdict is Verdict.NO_DATA
        assert "ahead of the clock: it was set, or two differ." in judgement.reason


def test_the_last_compared_step_waits_until_the_canary_is_shown_to_be_good() -> None:
    last, sure = step(last_compared=True), policy(margin=1.0)
    short = judged([quiet(10.0 * i, 20, (1, 1)) for i in range(6)], policy=sure, step=last)
    assert short.verdict is Verdict.INCONCLUSIVE
    assert short.reason.startswith("Not yet shown to be good enough: errors")
    long = judged([quiet(10.0 * i, 100, (1, 1)) for i in range(80)], policy=sure, step=last)
    assert long.verdict is Verdict.ADVANCE
    assert all(row.goodness and row.needed and row.goodness >= row.needed for row in long.rows)
    earlier = judged([quiet(10.0 * i, 20, (1, 1)) for i in range(6)], policy=sure)
    assert (earlier.verdict, earlier.rows[0].goodness) == (Verdict.ADVANCE, None)


def test_a_service_without_failures_is_promoted_for_their_being_negligible() -> None:
    last = step(last_compared=True)
    judgement = judged(quiet_windows(30), policy=policy(margin=1.0), step=last)
    assert judgement.verdict is Verdict.ADVANCE
    strict = judged(
        quiet_windows(30), policy=policy(margin=1.0), step=last, metric_set=small_set(negligible=0)
    )
    assert (strict.verdict, strict.blame) == (Verdict.INCONCLUSIVE, "errors")


def test_tolerances_of_the_plan_win() -> None:
    windows = [failing(10.0 * i, 5, 1) for i in range(24)]
    strict, lax = (
        judged(windows, rules=NEVER_SURE | {"objectives": False, "tolerances": {"errors": t}}).evidence
        for t in (0, 10)
    )
    assert strict > 1000 > 2 > lax


def test_metrics_without_weight_are_shown_and_have_no_say() -> None:
    judgement = judged([failing(10.0 * i, 9, 0) for i in range(6)], metric_set=small_set(weight=0))
    assert judgement.verdict is Verdict.ADVANCE
    assert judgement.rows[0].alarm_at is None
    assert judgement.rows[0].evidence > 100


def test_totals_and_percentiles_are_those_of_the_step_and_of_the_last_window() -> None:
    judgement = judged([quiet(0, 100, (2, 1)), quiet(10, 200, (0, 0))])
    assert (judgement.canary.requests, judgement.canary.rate) == (300, 15)
    assert judgement.canary.errors == pytest.approx(2 / 300)
    assert judgement.canary.latency_p95 == pytest.approx(1.0)
    assert judgement.recent_stable is not None
    assert (judgement.recent_stable.rate, judgement.recent_stable.errors) == (20, 0)


def test_unequal_load_is_warned_of() -> None:
    judgement = judged(quiet_windows(6), health=Health(ready_canary=1, ready_stable=3))
    assert judgement.verdict is Verdict.ADVANCE
    assert "3 times the requests" in judgement.warnings[0]


def test_adapters_of_the_same_pods_have_the_same_load() -> None:
    alike = HEALTHY.model_copy(update={"shared": True, "ready_canary": 1})
    assert not judged(quiet_windows(6), health=alike).warnings
    assert judged(quiet_windows(6), health=alike.model_copy(update={"shared": False})).warnings
    assert judged(quiet_windows(6)).warnings == ()


def test_judgements_survive_json_and_name_their_time() -> None:
    judgement = judged(quiet_windows(6), step=step(last_compared=True), policy=policy())
    text = json.dumps(judgement.to_json(), allow_nan=False)
    assert Judgement.from_json(json.loads(text)) == judgement
    assert (judgement.time, judgement.windows_end) == (60, 60)


def test_a_threshold_that_nobody_exceeds_excuses_no_other() -> None:
    """Twice as many are slower than half a second; that none is slower than 1 s does not make it good."""
    rate, latency = SMALL["metrics"]
    metric_set = parse_metric_set(SMALL | {"metrics": [rate, latency | {"negligible": 0.01, "slowdown": 0}]})
    windows = [
        window(
            10.0 * i,
            {"errors": counted(200, 0), "ttft": counted(200, 60, 0)},
            {"errors": counted(200, 0), "ttft": counted(200, 30, 0)},
        )
        for i in range(10)
    ]
    last, rules = step(last_compared=True), policy(alpha=1e-200)
    assert judged(windows, metric_set=metric_set, step=last, policy=rules).blame == "ttft"
    fast = [
        w.model_copy(update={"counts": w.counts | {"ttft": quiet(0, 200).counts["ttft"]}}) for w in windows
    ]
    assert judged(fast, metric_set=metric_set, step=last, policy=rules).verdict is Verdict.ADVANCE
