"""Verdicts where stable has no traffic, breaks as well, or where something is missing."""

import pytest

from inference_rollouts.core.judging.judge import Carried, Health, Verdict
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import (
    HEALTHY,
    NEVER_SURE,
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

RELATIVE = NEVER_SURE | {"objectives": False}


def compared() -> Carried:
    """What is known after the step before the last, at 50 %, in which both arms were alike."""
    windows = [quiet(10.0 * i, 200, (1, 1)) for i in range(12)]
    return judged(windows, step=step(index=1, steps=2, last_compared=True), rules=RELATIVE).handed_on


def alone(count: int, errors: int, slow: tuple[int, int] = (50, 10), n: int = 200) -> list[WindowCounts]:
    """The last step: stable has no traffic."""
    silent = {"errors": counted(0, 0, pods=3), "ttft": counted(0, 0, 0, pods=3)}
    canary = {"errors": counted(n, errors), "ttft": counted(n, *slow)}
    return [window(10.0 * i, canary, silent) for i in range(count)]


@pytest.mark.parametrize(
    ("errors", "slow", "blame"),
    [(1, (50, 10), None), (8, (50, 10), "errors"), (1, (200, 200), "ttft"), (2, (60, 12), None)],
)
def test_at_100_percent_the_canary_is_compared_with_what_stable_counted_before(
    errors: int, slow: tuple[int, int], blame: str | None
) -> None:
    """Four percent that fail, or first tokens that all take over a second, where half a percent failed."""
    full = step(index=2, steps=2, weight=100, bake=300.0)
    judgement = judged(alone(30, errors, slow), step=full, carried=compared(), rules=RELATIVE)
    assert judgement.blame == blame
    assert judgement.verdict is (Verdict.ROLLBACK if blame else Verdict.ADVANCE)
    assert "stable was" in judgement.reason


def test_at_100_percent_what_is_bad_has_to_last() -> None:
    """45 seconds in which a third fails may be an incident that stable would have had as well."""
    full = step(index=2, steps=2, weight=100, bake=300.0)
    windows = [*alone(10, 1), *alone(4, 60), *alone(16, 1)]
    moved = [w.model_copy(update={"start": 10.0 * i, "end": 10.0 * i + 10}) for i, w in enumerate(windows)]
    verdicts = {
        judged(moved[: i + 1], step=full, carried=compared(), rules=RELATIVE).verdict
        for i in range(len(moved))
    }
    assert Verdict.ROLLBACK not in verdicts


def test_what_stable_breaks_as_well_is_not_blamed_on_the_canary() -> None:
    """Both fail 10 % where 5 % are allowed: it is held, said, and asked about at the deadline."""
    windows = [failing(10.0 * i, 10, 10) for i in range(6)]
    for on_timeout in ("rollback", "ask", "advance"):
        rules = NEVER_SURE | {"on_timeout": on_timeout}
        held = judged(windows, rules=rules)
        assert held.verdict is Verdict.INCONCLUSIVE
        assert "Both arms break an objective: errors: 10 % on the canary, 10 % on stable" in held.reason
        assert "5 % allowed" in held.reason
        late = judged([failing(10.0 * i, 10, 10) for i in range(37)], rules=rules)
        assert late.verdict is Verdict.ASK


def test_where_both_arms_fail_altogether_going_back_heals_nothing_either() -> None:
    """Then there are no times to count: what is missing is of no more weight than what all can see."""
    down = {"errors": counted(100, 100), "ttft": counted(0, 0, 0)}
    late = judged([window(10.0 * i, down, down) for i in range(37)], rules={"on_timeout": "rollback"})
    assert late.verdict is Verdict.ASK
    assert "Both arms break an objective: errors: 100 % on the canary, 100 % on stable" in late.reason


def test_where_both_arms_fail_altogether_it_is_said_before_the_deadline_too() -> None:
    """Nothing lacks: there are no times of requests that fail."""
    down = {"errors": counted(100, 100), "ttft": counted(0, 0, 0)}
    windows = [window(10.0 * i, down, down) for i in range(12)]
    held = judged(windows)
    assert (held.verdict, held.blame) == (Verdict.INCONCLUSIVE, "errors")
    assert held.reason.startswith("Both arms break an objective: errors: 100 % on the canary")
    without = judged(windows, rules=NEVER_SURE | {"objectives": False})
    assert (without.verdict, without.blame) == (Verdict.INCONCLUSIVE, "ttft")
    assert without.reason == (
        "1200 of 1200 requests on the canary pool fail, which leaves too little to judge: "
        "0 of 20 events of ttft."
    )


def test_an_incident_of_both_arms_is_no_alarm_and_is_over_when_it_is_over() -> None:
    windows = [failing(10.0 * i, *((30, 30) if i in (2, 3, 4) else (0, 1))) for i in range(30)]
    judgement = judged(windows)
    assert (judgement.verdict, judgement.evidence < 10) == (Verdict.ADVANCE, True)


def test_an_alarm_says_whether_it_is_worse_than_stable_or_over_an_objective() -> None:
    worse = judged([failing(10.0 * i, 8, 0) for i in range(6)])
    assert worse.reason.startswith(
        "The canary is worse than stable: errors: 8 % on the canary, 0 % on stable"
    )
    lax = {"tolerances": {"errors": 10.0}} | NEVER_SURE
    over = judged([failing(10.0 * i, 14, 4) for i in range(30)], rules=lax)
    assert over.verdict is Verdict.ROLLBACK
    assert "breaks its objective, and stable does not" in over.reason
    assert "5 % allowed" in over.reason


def test_advance_waives_proof_and_nothing_else() -> None:
    last, waive = step(last_compared=True), {"on_timeout": "advance", "margin": 0.3}
    unsure = [quiet(10.0 * i, 20, (1, 1)) for i in range(37)]
    assert judged(unsure, rules=waive, step=last).verdict is Verdict.ADVANCE
    blocked = HEALTHY.model_copy(update={"blockers": ("The weights are not in force.",)})
    assert judged(unsure, rules=waive, step=last, health=blocked).verdict is Verdict.ASK
    few = [quiet(10.0 * i, int(i == 36)) for i in range(37)]
    assert judged(few, rules=waive, step=last).verdict is Verdict.ASK


def test_a_metric_that_is_not_fresh_or_counts_next_to_nothing_is_no_data() -> None:
    gone = {"errors": counted(100, 0), "ttft": counted(0, 0, 0, pods=0)}
    windows = [*quiet_windows(4), *(window(10.0 * i, gone, gone) for i in range(4, 9))]
    assert judged(windows).reason == "No pod of the canary pool has exported ttft for 50 s."
    rare = {"errors": counted(100, 0), "ttft": counted(1, 0, 0)}
    judgement = judged([window(10.0 * i, rare, rare) for i in range(6)])
    assert (judgement.verdict, judgement.blame) == (Verdict.NO_DATA, "ttft")
    assert judgement.reason == "Too little is counted: 6 of 20 events of ttft on the canary pool."


def test_crashes_of_earlier_steps_count() -> None:
    two = Health(ready_canary=3, ready_stable=3, restarts=2)
    first = judged(quiet_windows(6), step=step(index=1, steps=2), health=two)
    assert (first.verdict, first.handed_on.crashes) == (Verdict.ADVANCE, 2)
    calm = judged(quiet_windows(6), step=step(index=2, steps=2), carried=first.carried)
    assert calm.verdict is Verdict.ADVANCE
    once = HEALTHY.model_copy(update={"restarts": 1})
    assert (
        judged(quiet_windows(6), step=step(index=2, steps=2), carried=first.carried, health=once).verdict
        is Verdict.ROLLBACK
    )


@pytest.mark.parametrize(("beta", "failures"), [(0.05, 4), (0.3, 2)])
def test_evidence_of_earlier_steps_counts_for_the_canary_and_not_alone(beta: float, failures: int) -> None:
    sure, bad = policy(margin=1.0, beta=beta), [quiet(10.0 * i, 100, (failures, 1)) for i in range(6)]
    good = [quiet(10.0 * i, 100, (1, 1)) for i in range(40)]
    last = step(index=2, steps=2, last_compared=True)
    before = judged(good, policy=sure, step=step(index=1, steps=2)).handed_on
    with_it, without = (
        judged(good[:20], policy=sure, step=last, carried=each)
        for each in (before, Carried(**{**before.to_json(), "good": (0.0,) * len(before.good)}))
    )
    assert (with_it.rows[0].goodness or 0) > (without.rows[0].goodness or 0)
    turned = judged(bad, policy=sure, step=last, carried=before)
    assert turned.verdict is not Verdict.ADVANCE


def test_how_long_a_proof_takes_is_said_by_the_pace_of_this_step_alone() -> None:
    """Without failures nothing is shown of them: what earlier steps have shown is no pace."""
    rules = policy(margin=1.0, min_requests=1)
    good = [quiet(10.0 * i, 100, (2, 2)) for i in range(60)]
    rare = small_set(negligible=0.0, objective=None)
    before = judged(good, policy=rules, step=step(index=1, steps=2), metric_set=rare).handed_on
    last = step(index=2, steps=2, last_compared=True, bake=0.0)
    waits = judged([quiet(0.0, 10)], policy=rules, step=last, carried=before, metric_set=rare)
    assert (waits.blame, waits.verdict) == ("errors", Verdict.INCONCLUSIVE)
    assert "nobody can say for how long)" in waits.reason


def test_times_said_are_those_that_were_counted() -> None:
    long = judged([quiet(10.0 * i) for i in range(9)], step=step(bake=60.0))
    assert "after 90 s at 50 %" in long.reason
    waiting = judged([quiet(10.0 * i, 20, (1, 1)) for i in range(6)], policy=policy(margin=1.0),
                     step=step(last_compared=True))  # fmt: skip
    assert "more)" in waiting.reason
