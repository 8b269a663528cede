"""Evidence as it is carried: over steps, tempered, each window once."""

import numpy as np
import pytest

from inference_rollouts.core.judging import judge, running
from inference_rollouts.core.judging.evidence import share_increments
from inference_rollouts.core.judging.judge import Carried, Verdict, assess
from inference_rollouts.core.judging.rules import rules_of
from inference_rollouts.core.judging.sums import START, at_start, onset
from tests.support.judging import (
    HEALTHY,
    NEVER_SURE,
    SET,
    counted,
    failing,
    judged,
    policy,
    quiet_windows,
    random_windows,
    step,
    vllm_set,
    window,
)


def test_evidence_adds_up_over_the_steps() -> None:
    weak = [failing(10.0 * i, 4, 1) for i in range(6)]
    rules = NEVER_SURE | {"objectives": False, "alpha": 1e-6}
    first = judged(weak, step=step(index=1, steps=2), rules=rules)
    assert first.verdict is Verdict.ADVANCE
    alone = judged(weak, step=step(index=2, steps=2), rules=rules)
    second = judged(weak, step=step(index=2, steps=2), rules=rules, carried=first.carried)
    assert second.evidence > 1.9 * first.evidence
    assert second.evidence > alone.evidence
    assert second.handed_on.steps == 2


def test_a_step_that_is_resumed_goes_on_as_if_nothing_had_been() -> None:
    """Handing over and going on gives the same sums, but for rounding and the stretch of time under way."""
    rules, windows = policy(), random_windows(SET, 3, 8)
    whole = judged(windows, policy=rules, step=step(bake=80))
    half = judged(windows[:4], policy=rules, step=step(bake=80))
    resumed = step(bake=80, started_at=40, resumed=True)
    handed = judged(windows[4:], policy=rules, step=resumed, carried=half.carried)
    assert handed.evidence == pytest.approx(whole.evidence, rel=1e-5)
    np.testing.assert_allclose(handed.handed_on.good, whole.handed_on.good, atol=1e-5)
    assert handed.handed_on.unbegun == pytest.approx(whole.handed_on.unbegun, abs=1e-9)


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
            carried = judged([], step=step(index=i, steps=3), carried=carried).handed_on
        assert judged([], step=step(index=index, steps=3)).evidence == 1


def test_overdispersion_divides_the_evidence() -> None:
    windows = [failing(10.0 * i, 5, 1) for i in range(4)]
    rules = NEVER_SURE | {"objectives": False}
    full, half = (judged(windows, rules=rules | {"kappa": kappa}) for kappa in (1.0, 0.5))
    assert full.evidence > half.evidence > 1
    assert half.rows[0].kappa == 0.5


def test_estimated_overdispersion_learns_from_the_past() -> None:
    rules = {"kappa": "estimate", "kappa_bounds": (0.1, 1.0)} | NEVER_SURE

    def kappa_after(chi2: float, count: int) -> float | None:
        counts = {"errors": counted(100, 1), "ttft": counted(100, 10, 2)}
        windows = [window(10.0 * i, counts, counts, chi2=chi2, df=2) for i in range(count)]
        return judged(windows, rules=rules).rows[0].kappa

    assert kappa_after(2.0, 0) == kappa_after(40.0, 0) == 0.5
    assert (kappa_after(2.0, 90) or 0) > 0.8
    assert kappa_after(40.0, 90) == 0.1
    first = judge.begin(policy(**rules), SET, step(), Carried())
    arms = [{"errors": counted(100, bad), "ttft": counted(100, 9, 2)} for bad in (1, 17)]
    worse, better = (judge.absorb(first, window(0, c, s)) for c, s in (arms[::-1], arms))
    # a window's discount knows how many were bad, and not on which arm
    np.testing.assert_array_equal(worse.running.kappa, better.running.kappa)


def test_one_observation_of_ten_metrics_is_a_constant_cost() -> None:
    """A sums absorbs each window once; assessing from the whole list gives the same judgement."""
    rules, windows = policy(kappa="estimate"), random_windows(vllm_set(), 1, 12)
    last = step(last_compared=True)
    sums = judge.begin(rules, vllm_set(), last, Carried())
    for i, w in enumerate(windows, start=1):
        sums = judge.absorb(sums, w)
        concluded = judge.conclude(sums, HEALTHY, w.end)
        assert judge.handing_on(concluded, sums, HEALTHY) == assess(
            rules, vllm_set(), last, windows[:i], Carried(), HEALTHY, w.end
        )


def test_before_any_window_all_evidence_is_one() -> None:
    judgement = judged([], step=step(last_compared=True), policy=policy())
    assert [row.evidence for row in judgement.rows] == [1, 1]
    assert [row.goodness for row in judgement.rows] == [1, 1]


def test_rules_are_one_object_for_all_who_judge_alike() -> None:
    rules = rules_of(policy(), SET)
    assert rules_of(policy(), SET.model_copy()) is rules
    assert rules_of(policy(margin=1.5), SET) is not rules


def test_some_alternatives_are_beyond_any_tolerance() -> None:
    rules = rules_of(policy(tolerances={"errors": 1.0, "ttft": 10}), SET)
    assert np.all((rules.worse.effects > rules.tolerated[:, None]).sum(axis=1) >= 3)
    np.testing.assert_allclose(np.exp(rules.worse.prior).sum(axis=1), 1)


def test_the_test_of_one_arm_is_not_corrected_by_its_own_count() -> None:
    """Totals give the canary's count away, so its objective uses the kappa of the window before."""
    rules = policy(kappa="estimate")
    sums = judge.begin(rules, SET, step(), Carried())
    for i in range(3):
        before = sums
        both = {"ttft": counted(400, 100, 20)}
        arms = ({"errors": counted(400, failed), **both} for failed in (9 * i, 5))
        sums = judge.absorb(sums, window(10.0 * i, *arms, chi2=9.0, df=2))
    mass = np.array(before.unbegun - sums.unbegun)
    after = running.with_onset(before.running, rules_of(rules, SET), mass, sums.running.counted)
    increment = (sums.running.alarm - after.alarm)[-1]
    breach = sums.rules.breach
    plain = share_increments(np.array([400]), np.array([18]), breach.effects, breach.null)[0]
    np.testing.assert_allclose(increment, plain * before.running.kappa[0])
    assert before.running.kappa[0] != sums.running.kappa[0]


@pytest.mark.parametrize("bakes", [(600.0,), (60.0, 600.0), (60.0, 0.0, 600.0), (0.0, 0.0)])
def test_most_of_the_prior_is_for_a_canary_bad_from_the_start_and_the_rest_for_any_time(
    bakes: tuple[float, ...],
) -> None:
    whole = sum(bakes)
    spread = [sum(onset(0.2, bake, whole, 10.0 * i, 10.0 * (i + 1)) for i in range(90)) for bake in bakes]
    assert onset(1.0, bakes[0], whole, 0.0, 10.0) == at_start(whole) + onset(0.2, bakes[0], whole, 0.0, 10.0)
    assert at_start(whole) + sum(spread) == pytest.approx(1)
    assert at_start(whole) == (START if whole else 1) > sum(spread)
    for bake, any_time in zip(bakes, spread, strict=True):
        assert any_time == pytest.approx((1 - START) * bake / whole if whole else 0)


def test_what_is_for_the_start_waits_for_the_first_window() -> None:
    """Of a step that counted nothing, for want of bake time or requests, the next one begins the rollout."""
    nothing = judged([], step=step(index=1, steps=2, bake=0, whole=60)).handed_on
    bad = [failing(10.0 * i, 4, 1) for i in range(6)]
    second, first = (
        judged(bad, step=step(index=index, steps=2, whole=60), carried=carried, rules=NEVER_SURE)
        for index, carried in ((2, nothing), (1, Carried()))
    )
    assert second.evidence == first.evidence > 1


def test_a_rollout_gives_all_of_the_prior_away_by_the_end_of_its_bake_time() -> None:
    carried, bakes = Carried(), (20.0, 60.0)
    for index, bake in enumerate(bakes, start=1):
        windows = quiet_windows(int(bake / 10) + 2)
        context = step(index=index, steps=2, bake=bake, whole=sum(bakes))
        carried = judged(windows, step=context, carried=carried).handed_on
        assert carried.unbegun == pytest.approx((1 - START) * 0.75 * (index == 1))
