"""Verdicts: from counts, health and time to what happens next."""

import json
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.evidence import share_increments
from inference_rollouts.core.judging.judge import Carried, Health, Judgement, Verdict, assess
from inference_rollouts.core.judging.judgement import Opinion, worst
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.judging.rules import rules_of
from tests.support.judging import (
    HEALTHY,
    SMALL,
    counted,
    policy,
    quiet,
    quiet_windows,
    random_windows,
    small_set,
    step,
    vllm_set,
    window,
)

SET = small_set()
NEVER_SURE = {"margin": None}


def judged(windows: Sequence[WindowCounts], now: float | None = None, **given: Any) -> Judgement:
    """At the end of the windows, or at `now`; `rules` are fields of the policy."""
    return assess(
        given.pop("policy", policy(**given.pop("rules", NEVER_SURE))),
        given.pop("metric_set", SET),
        given.pop("step", step()),
        windows,
        given.pop("carried", Carried()),
        given.pop("health", HEALTHY),
        (windows[-1].end if windows else 0.0) if now is None else now,
    )


def failing(start: float, canary: int, stable: int, n: int = 100) -> WindowCounts:
    return quiet(start, n, errors=(canary, stable))


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


def test_time_without_counts_is_no_bake_time() -> None:
    assert judged(quiet_windows(5), now=65).verdict is Verdict.INCONCLUSIVE


def test_failures_of_the_canary_alone_raise_the_alarm_and_are_blamed() -> None:
    found = judged([failing(10.0 * i, 8, 0) for i in range(3)])
    assert (found.verdict, found.blame) == (Verdict.ROLLBACK, "errors")
    assert found.evidence >= found.alarm_at == 100
    assert "8 % on the canary, 0 % on stable" in found.reason


def test_the_same_failures_on_both_arms_do_not() -> None:
    found = judged([failing(10.0 * i, 30, 30) for i in range(6)], rules=NEVER_SURE | {"objectives": False})
    assert (found.verdict, found.blame) == (Verdict.ADVANCE, None)
    assert found.evidence < 1


def test_a_slow_canary_is_blamed_for_its_loudest_edge() -> None:
    windows = [
        window(
            10.0 * i,
            {"errors": counted(100, 0), "ttft": counted(100, 50, 30)},
            {"errors": counted(100, 0), "ttft": counted(100, 50, 2)},
        )
        for i in range(6)
    ]
    found = judged(windows)
    assert (found.verdict, found.blame) == (Verdict.ROLLBACK, "ttft")
    assert found.rows[1].threshold == 1
    assert "ttft over 1 s" in found.reason


def test_an_alarm_stands_when_the_data_end() -> None:
    found = judged([failing(10.0 * i, 20, 0) for i in range(3)], now=200, health=Health(prometheus_ok=False))
    assert found.verdict is Verdict.ROLLBACK


def test_evidence_adds_up_over_the_steps() -> None:
    weak = [failing(10.0 * i, 4, 1) for i in range(6)]
    rules = NEVER_SURE | {"objectives": False, "alpha": 0.001}
    first = judged(weak, step=step(index=1, steps=2), rules=rules)
    assert first.verdict is Verdict.ADVANCE
    alone = judged(weak, step=step(index=2, steps=2), rules=rules)
    second = judged(weak, step=step(index=2, steps=2), rules=rules, carried=first.carried)
    assert second.evidence > 1.9 * first.evidence
    assert second.evidence > alone.evidence
    assert second.carried.steps == 2


def test_carried_evidence_is_what_one_long_look_has() -> None:
    """Handing over at a step and going on gives the same sums, but for rounding to 9 digits."""
    rules, windows = policy(), random_windows(SET, 3, 8)
    two = [step(index=i, steps=2) for i in (1, 2)]
    handed = judge.begin(
        rules, SET, two[1], assess(rules, SET, two[0], windows[:4], Carried(), HEALTHY, 0).carried
    )
    handed = reduce(judge.absorb, windows[4:], handed)
    whole = reduce(judge.absorb, windows[:4], judge.begin(rules, SET, two[0], Carried()))
    late = reduce(judge.absorb, windows[4:], judge.begin(rules, SET, two[1], Carried()))
    whole_alarm = reduce(judge.absorb, windows[4:], whole).alarm
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(handed.alarm, np.logaddexp(whole_alarm, late.alarm), atol=1e-8)


def test_evidence_of_other_rules_is_refused() -> None:
    carried = judged(quiet_windows(1)).carried
    with pytest.raises(ValueError, match="another policy or metric set"):
        judged(quiet_windows(1), metric_set=vllm_set(), carried=carried)


def test_steps_not_begun_keep_their_share() -> None:
    """Before any window the evidence is 1, whatever the step."""
    for index in (1, 2, 3):
        assert judged([], step=step(index=1, steps=3)).evidence == 1
        carried = Carried()
        for i in range(1, index + 1):
            carried = judged([], step=step(index=i, steps=3), carried=carried).carried
        assert judged([], step=step(index=index, steps=3)).evidence == 1


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
    assert "nothing to compare" in judged(alone, step=full, rules=NEVER_SURE | {"objectives": False}).reason
    assert judged(alone, step=full).warnings == (
        "At 100 % nothing is compared: only objectives and guardrails are judged.",
    )


@pytest.mark.parametrize(
    ("health", "verdict", "said"),
    [
        (Health(ready_canary=0, ready_stable=3), Verdict.ROLLBACK, "no ready endpoints"),
        (Health(ready_canary=3, ready_stable=3, crash_loop=True), Verdict.ROLLBACK, "crash"),
        (Health(ready_canary=3, ready_stable=3, canary_outage="No picker."), Verdict.ROLLBACK, "No picker."),
        (
            Health(ready_canary=3, ready_stable=0, canary_outage="No picker."),
            Verdict.ASK,
            "No picker. But stable",
        ),
        (Health(ready_canary=3, ready_stable=3, restarts=3), Verdict.ROLLBACK, "3 restarts"),
        (Health(ready_canary=3, ready_stable=3, restarts=2), Verdict.ADVANCE, "No sign"),
        (Health(ready_canary=3, ready_stable=3, route_ok=False), Verdict.ROLLBACK, "route"),
        (Health(ready_canary=3, ready_stable=3, prometheus_ok=False), Verdict.NO_DATA, "metrics store"),
        (Health(), Verdict.NO_DATA, "cluster does not answer"),
        (Health(ready_canary=0, ready_stable=0), Verdict.ROLLBACK, "no ready endpoints"),
        (Health(ready_canary=2, ready_stable=0, crash_loop=True), Verdict.ASK, "going back would lose"),
        (Health(ready_canary=2, ready_stable=0), Verdict.ADVANCE, "No sign"),
    ],
)
def test_health_decides_within_one_look(health: Health, verdict: Verdict, said: str) -> None:
    found = judged(quiet_windows(6), health=health)
    assert found.verdict is verdict
    assert said in found.reason


@pytest.mark.parametrize(
    ("canary", "stable", "storm"),
    [
        ((30, 60), (0, 60), True),
        ((10, 10), (0, 60), False),
        ((29, 60), (0, 60), False),
        ((60, 60), (40, 60), False),
    ],
)
def test_a_storm_needs_one_look(canary: tuple[int, int], stable: tuple[int, int], storm: bool) -> None:
    counts = [{"errors": counted(n, x), "ttft": counted(n, 0, 0)} for x, n in (canary, stable)]
    found = judged([window(0, *counts)], rules=NEVER_SURE | {"alpha": 1e-200})
    assert (found.verdict is Verdict.ROLLBACK) == storm
    assert ("storm" in found.reason) == storm


def test_little_traffic_holds() -> None:
    found = judged(quiet_windows(6, n=3))
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "Not enough traffic: 18 of 20 requests on the canary pool.",
    )


def test_silence_after_traffic_holds() -> None:
    """Counters that no longer move may be frozen: what was good is not known to be so now."""
    silent = [*quiet_windows(3), *(quiet(10.0 * i, 0) for i in range(3, 10))]
    found = judged(silent)
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "The canary pool has counted no request for 70 s.",
    )
    assert judged([*silent, quiet(100, 1)]).verdict is Verdict.ADVANCE
    assert judged(silent[:9]).verdict is Verdict.ADVANCE


def test_no_traffic_at_all_holds() -> None:
    assert judged(quiet_windows(6, n=0)).verdict is Verdict.INCONCLUSIVE


def test_a_metric_that_the_canary_does_not_export_is_no_data() -> None:
    silent = [
        window(10.0 * i, {"errors": counted(50, 0), "ttft": counted(0, 0, 0, pods=0)},
               {"errors": counted(50, 0), "ttft": counted(50, 5, 1)})
        for i in range(6)
    ]  # fmt: skip
    found = judged(silent)
    assert (found.verdict, found.blame) == (Verdict.NO_DATA, "ttft")
    assert found.reason == "No pod of the canary pool exports ttft."


def test_optional_metrics_may_miss() -> None:
    windows = [
        window(10.0 * i, {"ttft": counted(50, 5, 1)}, {"ttft": counted(50, 5, 1)}).model_copy()
        for i in range(6)
    ]
    found = judged(windows, metric_set=small_set(optional=True), rules=NEVER_SURE | {"min_requests": 1})
    assert found.verdict is Verdict.INCONCLUSIVE  # requests are counted by that metric
    assert "traffic" in found.reason


@pytest.mark.parametrize(
    ("now", "on_timeout", "windows", "verdict"),
    [
        (359, "rollback", [], Verdict.NO_DATA),
        (361, "rollback", [], Verdict.ROLLBACK),
        (361, "ask", [], Verdict.ASK),
        (361, "advance", [], Verdict.ASK),  # missing data never pass
        (361, "advance", quiet_windows(36, n=0), Verdict.ADVANCE),
        (361, "rollback", quiet_windows(36, n=0), Verdict.ROLLBACK),
        (361, "ask", quiet_windows(36, n=100), Verdict.ADVANCE),
    ],
)
def test_patience_ends(now: float, on_timeout: str, windows: list[WindowCounts], verdict: Verdict) -> None:
    found = judged(windows, now=now, rules=NEVER_SURE | {"on_timeout": on_timeout})
    assert found.verdict is verdict


def test_a_dead_metrics_store_never_rolls_back_before_patience_ends() -> None:
    dead = Health(ready_canary=3, ready_stable=3, prometheus_ok=False)
    verdicts = [judged(quiet_windows(3), now=now, health=dead).verdict for now in range(30, 361, 10)]
    assert set(verdicts) == {Verdict.NO_DATA}


def test_stale_counts_are_no_data() -> None:
    assert judged(quiet_windows(6), now=90).verdict is Verdict.ADVANCE
    found = judged(quiet_windows(6), now=91)
    assert (found.verdict, found.reason) == (Verdict.NO_DATA, "No counts for 31 s.")


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
    found = judged(quiet_windows(30), policy=policy(margin=1.0), step=last)
    assert found.verdict is Verdict.ADVANCE
    strict = judged(
        quiet_windows(30), policy=policy(margin=1.0), step=last, metric_set=small_set(negligible=0)
    )
    assert (strict.verdict, strict.blame) == (Verdict.INCONCLUSIVE, "errors")


def test_tempering_divides_the_evidence() -> None:
    windows = [failing(10.0 * i, 5, 1) for i in range(4)]
    rules = NEVER_SURE | {"objectives": False}
    full, half = (judged(windows, rules=rules | {"kappa": kappa}) for kappa in (1.0, 0.5))
    assert full.evidence > half.evidence > 1
    assert half.rows[0].kappa == 0.5


def test_estimated_tempering_learns_from_the_past() -> None:
    rules = {"kappa": "estimate", "kappa_bounds": (0.1, 1.0)} | NEVER_SURE

    def kappas(chi2: float, count: int) -> list[float]:
        counts = {"errors": counted(100, 1), "ttft": counted(100, 10, 2)}
        windows = [window(10.0 * i, counts, counts, chi2=chi2, df=2) for i in range(count)]
        return [judged(windows[:k], rules=rules).rows[0].kappa for k in range(count + 1)]

    calm, wild = kappas(2.0, 90), kappas(40.0, 90)
    assert calm[0] == wild[0] == 0.5
    assert calm[-1] > 0.8
    assert wild[-1] == 0.1
    counts = {"errors": counted(100, 9), "ttft": counted(100, 9, 2)}
    first = judge.begin(policy(**rules), SET, step(), Carried())
    odd, even = (judge.absorb(first, window(0, counts, counts, chi2=chi2, df=1)) for chi2 in (500, 0))
    np.testing.assert_array_equal(odd.alarm, even.alarm)  # a window does not temper itself


def test_tolerances_of_the_plan_win() -> None:
    windows = [failing(10.0 * i, 5, 1) for i in range(6)]
    strict, lax = (
        judged(windows, rules=NEVER_SURE | {"objectives": False, "tolerances": {"errors": t}}).evidence
        for t in (0, 10)
    )
    assert strict > 10 > 1 > lax


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, []),
        ({"tolerances": {"nothing": 1}}, ["no metric 'nothing'"]),
        ({"margin": 0.1}, ["'errors'", "'ttft'"]),
        ({"margin": None, "tolerances": {"errors": 5}}, []),
        ({"margin": 2, "tolerances": {"errors": 5}}, ["tolerance 5 of 'errors'"]),
    ],
)
def test_policies_that_do_not_fit_are_named(rules: dict[str, Any], said: list[str]) -> None:
    found = judge.problems(policy(**rules), SET)
    assert len(found) == len(said)
    assert all(words in problem for words, problem in zip(said, found, strict=True))


@pytest.mark.parametrize(
    "rules",
    [
        *({"alpha": value} for value in (0, 0.5, float("nan"))),
        *({"kappa": value} for value in (0, 1.5, "guess")),
        *({"interval": value} for value in (0, -1, "soon")),
        {"kappa_bounds": (0.9, 0.1)},
        {"on_timeout": "pray"},
        {"margin": 0},
        {"surprise": 1},
    ],
)
def test_nonsense_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**rules)


def test_metrics_without_weight_are_shown_and_have_no_say() -> None:
    found = judged([failing(10.0 * i, 9, 0) for i in range(6)], metric_set=small_set(weight=0))
    assert found.verdict is Verdict.ADVANCE
    assert found.rows[0].alarm_at is None
    assert found.rows[0].evidence > 100


def test_totals_and_percentiles_are_those_of_the_step_and_of_the_last_window() -> None:
    found = judged([quiet(0, 100, (2, 1)), quiet(10, 200, (0, 0))])
    assert (found.canary.requests, found.canary.rate) == (300, 15)
    assert found.canary.errors == pytest.approx(2 / 300)
    assert found.canary.latency_p95 == pytest.approx(1.0)
    assert found.recent_stable is not None
    assert (found.recent_stable.rate, found.recent_stable.errors) == (20, 0)


def test_unequal_load_is_warned_of() -> None:
    found = judged(quiet_windows(6), health=Health(ready_canary=1, ready_stable=3))
    assert found.verdict is Verdict.ADVANCE
    assert "3 times the requests" in found.warnings[0]


def test_adapters_of_the_same_pods_have_the_same_load() -> None:
    alike = HEALTHY.model_copy(update={"shared": True, "ready_canary": 1})
    assert not judged(quiet_windows(6), health=alike).warnings
    assert judged(quiet_windows(6), health=alike.model_copy(update={"shared": False})).warnings
    assert judged(quiet_windows(6)).warnings == ()


def test_judgements_survive_json_and_name_their_time() -> None:
    found = judged(quiet_windows(6), step=step(last_compared=True), policy=policy())
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Judgement.from_json(json.loads(text)) == found
    assert (found.time, found.windows_end) == (60, 60)


def test_the_steps_of_a_plan() -> None:
    steps = [Step(weight=weight, bake=60) for weight in (5, 50, 100)]
    steps = [judge.StepContext.of(steps, i, started_at=7.0, initial_delay=3.0) for i in (1, 2, 3)]
    assert [s.weight for s in steps] == [5, 50, 100]
    assert [s.last_compared for s in steps] == [False, True, False]
    assert [s.compared for s in steps] == [True, True, False]
    assert (steps[0].anchor, steps[0].baked_at) == (10, 70)
    assert not judge.StepContext.of(
        [Step(weight=100, bake=0)], 1, started_at=0, initial_delay=0
    ).last_compared


@pytest.mark.parametrize(
    ("weights", "last"), [((5, 50, 100), [False, False, True, False]), ((100,), [True, False])]
)
def test_a_mirror_is_compared_and_the_last_only_where_no_weight_is(weights, last) -> None:
    steps = [Step(weight=0, mirror=25, bake=60), *(Step(weight=weight, bake=60) for weight in weights)]
    steps = [
        judge.StepContext.of(steps, i, started_at=7.0, initial_delay=3.0) for i in range(1, len(steps) + 1)
    ]
    assert [step.last_compared for step in steps] == last
    assert (steps[0].compared, steps[0].share, str(steps[0])) == (True, 0.2, "25 % mirrored")


def test_one_look_over_ten_metrics_is_a_constant_cost() -> None:
    """A sums absorbs each window once; assessing from the whole list gives the same judgement."""
    rules, windows = policy(kappa="estimate"), random_windows(vllm_set(), 1, 12)
    last = step(last_compared=True)
    sums = judge.begin(rules, vllm_set(), last, Carried())
    for i, w in enumerate(windows, start=1):
        sums = judge.absorb(sums, w)
        assert judge.conclude(sums, HEALTHY, w.end) == assess(
            rules, vllm_set(), last, windows[:i], Carried(), HEALTHY, w.end
        )


def test_before_any_window_all_evidence_is_one() -> None:
    found = judged([], step=step(last_compared=True), policy=policy())
    assert [row.evidence for row in found.rows] == [1, 1]
    assert [row.goodness for row in found.rows] == [1, 1]


def test_an_edge_that_nobody_exceeds_excuses_no_other() -> None:
    """Twice as many are slower than half a second; that none is slower than 1 s does not make it good."""
    rate, latency = SMALL["metrics"]
    metric_set = parse_metric_set(SMALL | {"metrics": [rate, latency | {"negligible": 0.01}]})
    windows = [
        window(
            10.0 * i,
            {"errors": counted(200, 0), "ttft": counted(200, 60, 0)},
            {"errors": counted(200, 0), "ttft": counted(200, 30, 0)},
        )
        for i in range(10)
    ]
    last, rules = step(last_compared=True), policy(alpha=1e-30)
    assert judged(windows, metric_set=metric_set, step=last, policy=rules).blame == "ttft"
    fast = [
        w.model_copy(update={"counts": w.counts | {"ttft": quiet(0, 200).counts["ttft"]}}) for w in windows
    ]
    assert judged(fast, metric_set=metric_set, step=last, policy=rules).verdict is Verdict.ADVANCE


def test_only_odds_beyond_the_tolerance_are_alternatives() -> None:
    rules = rules_of(policy(tolerances={"errors": 1.0, "ttft": 10}), SET)
    for effects, null, prior in zip(rules.worse.effects, rules.worse.null, rules.worse.prior, strict=True):
        assert np.isfinite(prior).any()
        assert np.all((effects > null) == np.isfinite(prior))
        assert np.exp(prior).sum() == pytest.approx(1)


def test_the_test_of_one_arm_is_not_tempered_by_its_own_count() -> None:
    """Totals give the canary's count away, so its objective uses the kappa of the window before."""
    rules = policy(kappa="estimate")
    sums = judge.begin(rules, SET, step(), Carried())
    for i in range(3):
        before = sums
        sums = judge.absorb(sums, failing(10.0 * i, 9 * i, 5, n=400))
    found = (sums.alarm - before.alarm)[-1]
    breach = sums.rules.breach
    plain = share_increments(np.array([400]), np.array([18]), breach.effects, breach.null)[0]
    np.testing.assert_allclose(found, plain * before.kappa[0])
    assert before.kappa[0] != sums.kappa[0]
