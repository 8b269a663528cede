"""What a gateway's metrics say in a judgement beside the servers', and what their absence does."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from msgspec.structs import replace

from inference_rollouts.core.judging.decision_record import VERSION, canonical, replay
from inference_rollouts.core.judging.judge import Carried, Verdict, absorb, begin, conclude
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.power import step_powers, traffic_of
from inference_rollouts.core.judging.window_counts import ArmCounts, WindowCounts
from tests.support.judging import (
    HEALTHY,
    NEVER_SURE,
    Record,
    counted,
    judged,
    policy,
    quiet,
    quiet_windows,
    small_set,
    step,
    window,
    with_gateway,
)

BOTH = with_gateway()
GUARDRAIL = with_gateway(guardrail_only=True)


def seen(start: float, lost: int = 0, n: int = 100, usual: int = 0) -> WindowCounts:
    """A window in which all is well with the servers, and the gateway lost some of the canary's requests."""
    arms: tuple[ArmCounts, ArmCounts] = (counted(n, lost), counted(n, usual))
    gateway = window(start, {"gateway_errors": arms[0]}, {"gateway_errors": arms[1]})
    own = quiet(start)
    return own.model_copy(update={"counts": own.counts | gateway.counts})


def verdict(metric_set: MetricSet, windows: list[WindowCounts], **given: Any) -> tuple[Verdict, str | None]:
    judgement = judged(windows, metric_set=metric_set, **given)
    return judgement.verdict, judgement.blame


def test_requests_that_only_the_gateway_saw_fail_take_the_canary_off() -> None:
    lossy = [seen(10.0 * i, lost=8) for i in range(6)]
    assert verdict(BOTH, lossy) == (Verdict.ROLLBACK, "gateway_errors")
    assert verdict(small_set(), [quiet(10.0 * i) for i in range(6)]) == (Verdict.ADVANCE, None)


def test_a_storm_that_only_the_gateway_sees_acts_at_once() -> None:
    judgement = judged([seen(0.0, lost=70), seen(10.0, lost=70)], metric_set=BOTH)
    assert judgement.verdict is Verdict.ROLLBACK
    assert judgement.reason.startswith("A storm of errors (gateway): 70 % on the canary")


def test_what_is_shown_first_are_the_servers_figures() -> None:
    judgement = judged([seen(0.0, lost=3, n=1000)], metric_set=BOTH)
    assert judgement.canary.requests == 100
    assert [row.metric for row in judgement.rows] == ["errors", "ttft", "gateway_errors"]


def test_a_step_does_not_pass_while_the_gateway_says_nothing() -> None:
    judgement = judged(quiet_windows(6), metric_set=BOTH)
    assert (judgement.verdict, judgement.reason) == (Verdict.NO_DATA, "No counts of gateway for 60 s.")


def test_a_step_does_not_pass_while_the_gateway_knows_no_canary() -> None:
    unknown = [seen(10.0 * i) for i in range(6)]
    for each in unknown:
        counts = each.counts["gateway_errors"]
        each.counts["gateway_errors"] = replace(counts, canary=counted(0, 0, pods=0))
    judgement = judged(unknown, metric_set=BOTH)
    assert judgement.verdict is Verdict.NO_DATA
    assert judgement.reason == "No gateway exports errors (gateway) of the canary pool."


def test_a_late_set_is_waited_for_until_it_has_seen_the_whole_bake() -> None:
    late, windows = with_gateway(delay="20s"), [seen(10.0 * i) for i in range(8)]
    assert verdict(late, windows[:6])[0] is Verdict.INCONCLUSIVE
    assert "Baking: 40 s of 60 s" in judged(windows[:6], metric_set=late).reason
    assert verdict(late, windows)[0] is Verdict.ADVANCE


class TestAGuardrailOnly:
    def test_it_is_not_waited_for(self) -> None:
        assert verdict(GUARDRAIL, quiet_windows(6))[0] is Verdict.ADVANCE

    def test_it_does_not_compare(self) -> None:
        """Below its objective, 4 % on the canary beside nothing on stable are no alarm of its own."""
        windows = [seen(10.0 * i, lost=4) for i in range(30)]
        assert verdict(GUARDRAIL, windows)[0] is Verdict.ADVANCE
        assert verdict(BOTH, windows)[0] is Verdict.ROLLBACK

    def test_promotion_needs_nothing_of_it(self) -> None:
        last, rules = step(last_compared=True), policy(margin=1.0)
        windows = [seen(10.0 * i, n=1) for i in range(200)]
        judgement = judged(windows, metric_set=GUARDRAIL, step=last, policy=rules)
        assert judgement.verdict is Verdict.ADVANCE
        assert judgement.rows[-1].needed is None
        assert judged(windows, metric_set=BOTH, step=last, policy=rules).blame == "gateway_errors"

    @pytest.mark.parametrize(("lost", "windows"), [(30, 6), (70, 1)])
    def test_it_alarms_over_its_objective_and_in_a_storm(self, lost: int, windows: int) -> None:
        lossy = [seen(10.0 * i, lost=lost) for i in range(windows)]
        assert verdict(GUARDRAIL, lossy) == (Verdict.ROLLBACK, "gateway_errors")

    def test_no_power_is_planned_for_it(self) -> None:
        traffic = traffic_of(GUARDRAIL, [seen(0.0)])
        powers = step_powers(policy(), GUARDRAIL, [step()], traffic)
        assert {power.metric for power in powers} == {"errors", "ttft"}


def test_all_that_judged_is_in_the_record_and_is_judged_again() -> None:
    rules, context = policy(**NEVER_SURE), step()
    recorder = Record(rules, BOTH, context, Carried(), ())
    sums = begin(rules, BOTH, context, Carried())
    for each in [seen(10.0 * i, lost=i) for i in range(6)]:
        sums = absorb(sums, each)
        recorder.window(each)
        recorder.observation(HEALTHY, conclude(sums, HEALTHY, each.end))
    assert replay(recorder.lines) == recorder.lines


OLD_FIELDS = {"name", "description", "pod", "exporters", "started", "errors", "latency", "metrics", "load"}


def test_a_record_of_one_set_that_knew_no_other_is_judged_again() -> None:
    """Its metric set has none of the fields that came later."""
    rules, context, windows = policy(**NEVER_SURE), step(), quiet_windows(6)
    old = {name: value for name, value in small_set().to_json().items() if name in OLD_FIELDS}
    sums = reduce(absorb, windows, begin(rules, small_set(), context, Carried()))
    judgement = conclude(sums, HEALTHY, 60.0)
    head = {
        "kind": "step",
        "version": VERSION,
        "policy": rules.to_json(),
        "step": context.to_json(),
        "carried": Carried().to_json(),
        "metric_set": old,
    }
    lines = [
        canonical(head),
        canonical(
            {
                "kind": "observation",
                "windows": [each.to_json() for each in windows],
                "health": HEALTHY.to_json(),
                "judgement": judgement.to_json(),
            }
        ),
    ]
    assert replay(lines) == lines
