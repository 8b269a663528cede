"""A rollback is confirmed when every gateway that served the routes says that it has taken them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inference_rollouts.core.limits import CONFIRMATION_DEADLINE
from inference_rollouts.core.objects.parents import accepting
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.confirmation import await_confirmation, confirmation
from tests.support.read_only_cluster import Objects, routed, says, target

GW, OTHER = {"name": "gw"}, {"name": "gw", "namespace": "infra"}
READY, LATE = Readiness(Phase.READY, "yes"), Readiness(Phase.WAITING, "not yet")


def test_every_gateway_of_every_route_confirms() -> None:
    live = Objects(routed([GW, OTHER], says(GW), says(OTHER)), routed([GW], says(GW), name="two"))
    assert confirmation(live, (target(), target("two"))).phase is Phase.READY


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (says(OTHER, Programmed="False"), "Programmed is False at Gateway infra/gw"),
        (says(OTHER, Reconciled="False"), "Reconciled is False at Gateway infra/gw"),
        (says(OTHER, generation=0), "has not seen generation 1"),
    ],
)
def test_one_that_is_behind_or_refuses_is_named(entry: dict[str, object], words: str) -> None:
    route = routed([GW, OTHER], says(GW), entry)
    answer = confirmation(Objects(route), (target(),))
    assert answer.phase is not Phase.READY
    assert words in answer.message


def test_a_parent_that_stopped_accepting_still_counts_where_the_run_knows_it() -> None:
    before = accepting(routed([GW, OTHER], says(GW), says(OTHER)))
    late = Objects(routed([GW, OTHER], says(GW), says(OTHER, Accepted="False")))
    assert confirmation(late, (target(),), lambda _: before).phase is not Phase.READY


def test_what_is_gone_or_has_no_gateway_needs_none() -> None:
    rewrite = Target("llm-d.ai/v1alpha2", "InferenceModelRewrite", "alias")
    assert confirmation(Objects(), (target(), rewrite)).phase is Phase.READY


def test_a_cluster_that_does_not_answer_has_confirmed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> object:
        raise ConnectionError("reset")

    monkeypatch.setattr(Objects, "find", silent)
    answer = confirmation(Objects(), (target(),))
    assert (answer.phase, answer.message) == (Phase.WAITING, "the cluster does not answer: reset")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("answers", "last", "seconds"), [([READY], READY, 0.0), ([LATE, LATE, READY], READY, 1.0)]
)
def test_it_is_awaited(answers: list[Readiness], last: Readiness, seconds: float) -> None:
    clock, asked = Clock(), iter(answers)
    assert await_confirmation(lambda: next(asked), now=clock.time, sleep=clock.sleep) is last
    assert clock.now == seconds


def test_it_is_not_awaited_for_ever() -> None:
    def late() -> Iterator[Readiness]:
        while True:
            yield LATE

    clock, asked = Clock(), late()
    assert await_confirmation(lambda: next(asked), now=clock.time, sleep=clock.sleep) is LATE
    assert clock.now == CONFIRMATION_DEADLINE
