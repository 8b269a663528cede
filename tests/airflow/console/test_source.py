"""What the console says of rollouts that the real judge played in memory."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.stage import until

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module")
def promoted() -> Any:
    from inference_rollouts.core.reporting.report import Outcome
    from tests.support.console_states import WHOLE
    from tests.support.console_world import Played

    return Played("code", "code-34b", "code-34b-mtp", WHOLE, over=Outcome.PROMOTED, ended=1500, seed=9)


def source(*played: Any, **more: Any) -> Any:
    from inference_rollouts.console.source import RolloutSource
    from tests.support.console_states import PATIENCE
    from tests.support.console_world import NOW, PlayedWorld

    return RolloutSource(PlayedWorld(*played, **more), lambda: NOW, PATIENCE)


def earlier(played: Any, seconds: int) -> Any:
    twin = played.called(f"service-{seconds}", seconds)
    twin.now -= seconds
    return twin


def test_history_goes_on_beyond_its_first_page_and_has_each_run_once(promoted: Any) -> None:
    from inference_rollouts.console.runs import FINISHED

    ended = [earlier(promoted, seconds) for seconds in range(FINISHED + 5)]
    shown = source(*ended)
    first = shown.overview()
    rest = shown.history(first["older"])
    assert (len(first["history"]), len(rest["history"]), rest["older"]) == (FINISHED, 5, None)
    plans = [line["plan"] for line in (*first["history"], *rest["history"])]
    assert plans == [each.name for each in ended]


def test_proof_that_it_is_good_enough_is_drawn_where_it_is_asked_for() -> None:
    from inference_rollouts.console.live import LiveStep
    from inference_rollouts.core.judging.carried import Carried
    from tests.support.console_states import IN_STEP
    from tests.support.console_world import NOW, Played

    running = Played("llm", "llm-pool", "llm-pool-version-2", IN_STEP[2], seed=3)
    before = [Carried(), Carried.from_json(running.xcoms["step_2.judge", "return_value"]["carried"])]
    first, last = (
        LiveStep(running.frozen, running.plan.step_context(step, running.since), carried).look(
            running.traffic, NOW
        )
        for step, carried in zip((1, 3), before, strict=True)
    )
    assert first.goodness == ()
    needed = [row.goodness for row in last.judgement.rows if row.goodness is not None]
    assert last.goodness[-1][1] == min(needed)


def test_a_step_that_is_looked_at_for_days_does_not_grow_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause may last a week, and a page may stay open on a wall."""
    from inference_rollouts.console import live
    from inference_rollouts.core.judging.carried import Carried
    from tests.support.console_states import IN_STEP
    from tests.support.console_world import NOW, Played

    running = Played("llm", "llm-pool", "llm-pool-version-2", IN_STEP[0], seed=3)
    context = running.plan.step_context(1, running.since)
    once = live.LiveStep(running.frozen, context, Carried()).look(running.traffic, NOW)
    monkeypatch.setattr(live, "CATCH_UP", 3)
    monkeypatch.setattr(live, "MOST_WINDOWS", 5)
    step = live.LiveStep(running.frozen, context, Carried())
    looks = [step.look(running.traffic, NOW - 90 + 7.5 * number) for number in range(13)]
    assert max(len(look.windows) for look in looks) <= 5 + 3 < len(once.windows)
    assert looks[-1].judgement.canary.requests == once.judgement.canary.requests
    [seen] = step.record().seen
    assert seen.judgement["evidence"] == looks[-1].judgement.evidence


def test_what_was_proven_is_drawn_after_the_end_too_and_the_load_of_both_arms(promoted: Any) -> None:
    series = source(promoted).series(promoted.dag, promoted.run_id)
    assert series["goodness"][-1][1] >= series["good_at"]
    load = series["load"]
    assert len(load["times"]) == len(load["canary"]) == len(load["stable"]) > 10
    assert load["canary"][-1] > load["stable"][-1] == 0


def test_the_step_that_stands_is_counted_up_to_now() -> None:
    """Of the pods that the cluster has: what others export to the same store is another cluster's."""
    from tests.support.console_states import IN_STEP
    from tests.support.console_world import NOW, Played

    running = Played("llm", "llm-pool", "llm-pool-version-2", IN_STEP[2], seed=3)
    shown = source(running)
    interval = running.plan.analysis.interval
    series = shown.series(running.dag, running.run_id)
    assert NOW - 3 * interval < series["evidence"][-1][0] <= NOW
    assert min(series["load"]["canary"][-1], series["load"]["stable"][-1]) > 0


def test_a_promotion_can_be_undone_from_its_page_while_the_cluster_says_so(promoted: Any) -> None:
    from inference_rollouts.core.errors import ClusterUnavailable

    one = source(promoted).one(promoted.dag, promoted.run_id)
    assert one["aftermath"]["offer"].startswith("All traffic goes from code-34b-mtp back to code-34b.")
    broken = source(promoted, broken=ClusterUnavailable("GET", "/apis", 0, "away"))
    assert broken.one(promoted.dag, promoted.run_id)["aftermath"] == {"offer": "", "undone": ""}


def test_nothing_else_can_be_undone(promoted: Any) -> None:
    from inference_rollouts.core.reporting.report import Outcome

    back = copy.copy(promoted)
    back.xcoms = promoted.xcoms | {("report", "outcome"): Outcome.ROLLED_BACK.value}
    assert source(back).one(back.dag, back.run_id)["aftermath"]["offer"] == ""


def test_who_stopped_everything_is_told_though_nothing_is_in_flight(promoted: Any) -> None:
    [stop] = source(promoted, stop="All rollouts are held by mara: a test").overview()["stops"]
    assert stop == {
        "dags": [promoted.dag],
        "namespace": "default",
        "words": "All rollouts are held by mara: a test",
    }


def test_clusters_that_hang_hold_up_no_other(promoted: Any) -> None:
    """Each would else take one of few workers, and the list as long as all of them together."""
    from inference_rollouts.console.cluster import Claims
    from inference_rollouts.console.source import RolloutSource
    from inference_rollouts.core.plan.common import Connections
    from tests.support.console_world import NOW, PlayedWorld

    hangs = threading.Event()

    class Clusters(PlayedWorld):
        def plans(self) -> Any:
            clusters = [Connections(kubernetes=f"cluster-{number:02d}") for number in range(40)]
            return {
                each.kubernetes: promoted.plan.model_copy(update={"connections": each}) for each in clusters
            }

        def claims(self, place: Any) -> Claims:
            if place[0].kubernetes < "cluster-20":
                hangs.wait(30)
            return Claims({}, {}, {}, "held")

    shown = RolloutSource(Clusters(promoted), lambda: NOW, 2.0)
    try:
        stops = shown.overview()["stops"]
        assert [dag for stop in stops for dag in stop["dags"]] == [f"cluster-{n}" for n in range(20, 40)]
    finally:
        hangs.set()


def test_a_command_is_for_this_run_and_asks_its_claims_themselves(promoted: Any) -> None:
    """What the page knew of them may be gone, or late: of a slow cluster it was said that there is nothing to
    command, and a command to a run that had just ended went to the next one of its plan."""
    from inference_rollouts.console.source import RolloutSource
    from inference_rollouts.core.errors import ClaimLost, ClusterUnavailable
    from inference_rollouts.core.routing.claim import Phase
    from tests.support.console_states import PATIENCE
    from tests.support.console_world import NOW, PlayedWorld
    from tests.support.steps import Step

    step = Step()
    flying, ended = promoted.called("flying", 1), promoted.called("ended", 2)
    flying.frozen, flying.over = step.run.frozen, None
    ended.frozen = replace(step.run.frozen, token="of another run")

    class Slow(PlayedWorld):
        def clients(self, frozen: Any) -> Any:
            return step.run.clients

    shown = RolloutSource(
        Slow(flying, ended, broken=ClusterUnavailable("GET", "/apis", 0, "away")), lambda: NOW, PATIENCE
    )
    with pytest.raises(ClaimLost, match="has ended, or not begun"):
        shown.command(ended.dag, ended.run_id, "pause", "anna", "the pager")
    assert "keeps 50 %" in shown.command(flying.dag, flying.run_id, "pause", "anna", "the pager")
    assert [claim.phase for claim in step.run.traffic.claims()] == [Phase.PAUSED]


def test_however_many_look_each_answer_is_made_once(promoted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from inference_rollouts.console.kept import Kept
    from inference_rollouts.console.source import RolloutSource
    from tests.support.console_world import NOW, PlayedWorld

    asked: list[str] = []

    class Counting(PlayedWorld):
        def dags(self) -> Any:
            asked.append("dags")
            return super().dags()

        def whole(self, dag: str, run: str) -> Any:
            asked.append("whole")
            return super().whole(dag, run)

    shown = RolloutSource(Counting(promoted), lambda: NOW)
    looks: list[Callable[[], Any]] = [
        shown.overview,
        lambda: shown.one(promoted.dag, promoted.run_id),
        lambda: shown.plan(promoted.dag),
    ]
    for kept in vars(shown).values():
        if isinstance(kept, Kept):
            monkeypatch.setattr(kept, "_now", lambda: 0.0)
    for look in looks:
        look()
        before = len(asked)
        for _ in range(20):
            look()
        assert len(asked) == before


def test_two_api_servers_say_the_same(promoted: Any) -> None:
    one, other = source(promoted), source(promoted)
    run = promoted.dag, promoted.run_id
    assert one.overview() == other.overview()
    assert (one.one(*run), one.series(*run)) == (other.one(*run), other.series(*run))


def test_an_answer_is_made_anew_as_soon_as_a_step_left_its_record(promoted: Any) -> None:
    late = promoted.called("late", 1)
    last = ("step_4.judge", "record")
    late.xcoms = {key: value for key, value in promoted.xcoms.items() if key != last}
    shown = source(late)
    before = shown.rejudged(late.dag, late.run_id, 0.01)
    late.xcoms = promoted.xcoms
    until(lambda: shown.one(late.dag, late.run_id)["record"][-1]["step"] == 4, "the record to be read")
    after = shown.rejudged(late.dag, late.run_id, 0.01)
    assert (before["steps"], after["steps"], after["over"]) == (3, 4, True)
    assert after["was"]["seconds"] > before["was"]["seconds"]
