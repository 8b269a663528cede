"""A promotion is undone by what it left on the route alone, watched, and stays undone."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.cli import control as command_line
from inference_rollouts.cli import main
from inference_rollouts.core.errors import ClaimLost, CommandRefused, RouteDrift
from inference_rollouts.core.limits import UNDO_WATCH
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.routing.claim import CLAIM, Ending, read_ending
from inference_rollouts.core.routing.switch import Mode
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.command import command
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.overview import overview
from inference_rollouts.rollout.switch import throw
from inference_rollouts.rollout.undo import Aftermath, aftermath_of
from inference_rollouts.rollout.writer import Writer
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, STABLE, llm_plan
from tests.support.steps import START, Step

NEW, OLD = {STABLE: 0, CANARY: 100}, {STABLE: 100, CANARY: 0}


class Scene:
    """A canary that was promoted just now, and a guardian."""

    def __init__(self, **how: Any) -> None:
        self.now = START
        self.step = Step(START, clock=lambda: self.now, **how)
        traffic, plan = self.step.run.traffic, self.step.run.plan
        traffic.permit(1, START)
        traffic.shift(2, plan.all_steps[1], START)
        traffic.permit(2, START)
        traffic.promote(START)
        self.cluster = self.step.cluster
        self.guardian = Guardian(self.cluster, self.step.prometheus, "guardian")
        assert self.cluster.weights() == NEW

    def undo(self, name: str = "llm") -> str:
        return command(self.cluster, name, "undo", "anna", "it rambles")

    def weights(self, name: str) -> dict[str, int]:
        backends = self.cluster.objects["HTTPRoute", name]["spec"]["rules"][0]["backendRefs"]
        return {each["name"]: each.get("weight", 1) for each in backends}

    def after(self, seconds: float) -> Any:
        self.now += seconds
        return self.guardian.round()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nothing_goes_to_what_is_only_called_like_the_pool_of_before(scene: Scene) -> None:
    backends = scene.cluster.route["spec"]["rules"][0]["backendRefs"]
    next(each for each in backends if each["name"] == STABLE)["namespace"] = "elsewhere"
    with pytest.raises(RouteDrift, match=f"{STABLE} means another backend now"):
        scene.undo()
    assert scene.cluster.weights() == NEW
    assert CLAIM not in scene.cluster.notes()


@pytest.mark.parametrize("name", ["llm", "routes-to-llm"])
def test_all_traffic_goes_back_at_once_and_stays(scene: Scene, name: str) -> None:
    told = scene.undo(name)
    assert told.startswith(f"All traffic goes from {CANARY} back to {STABLE}. Guardrails watch it for 5 min")
    assert scene.cluster.weights() == OLD
    [status] = overview(scene.cluster).statuses
    assert "undone by anna: it rambles, guardrails watch it" in status.headline
    assert scene.after(5.0).watching == 1
    [ended] = scene.after(UNDO_WATCH).ended
    assert ended.why == "undone by anna: it rambles, and no guardrail raised an alarm"
    assert scene.cluster.weights() == OLD
    assert CLAIM not in scene.cluster.notes()
    assert "Undone" in scene.cluster.events


def test_an_alarm_sends_it_to_the_promoted_pool_again(scene: Scene) -> None:
    scene.undo()
    scene.cluster.scale(STABLE, 0)
    scene.after(5.0)
    assert scene.cluster.weights()[CANARY] == 100
    assert scene.cluster.ending() is Ending.RESTORED


def test_it_does_so_too_where_nobody_has_watched_until_it_was_to_be_completed(scene: Scene) -> None:
    scene.undo()
    scene.cluster.scale(STABLE, 0)
    [ended] = scene.after(UNDO_WATCH + 2.0).ended
    assert ended.alarm
    assert scene.cluster.weights()[CANARY] == 100


def test_what_was_sent_back_can_be_undone_once_more(scene: Scene) -> None:
    scene.undo()
    scene.cluster.scale(STABLE, 0)
    scene.after(5.0)
    scene.cluster.scale(STABLE, 3)
    scene.undo()
    assert scene.cluster.weights() == OLD


@pytest.mark.parametrize("name", [STABLE, CANARY])
@pytest.mark.parametrize("place", [0, 2])
def test_an_idle_second_entry_of_a_pool_hinders_no_undo(scene: Scene, name: str, place: int) -> None:
    backends = scene.cluster.route["spec"]["rules"][0]["backendRefs"]
    backends.insert(place, {**backends[0], "name": name, "weight": 0})
    scene.undo()
    assert carrying(scene) == [(STABLE, 100)]
    scene.cluster.scale(STABLE, 0)
    scene.after(5.0)
    assert carrying(scene) == [(CANARY, 100)]


def carrying(scene: Scene) -> list[tuple[str, int]]:
    backends = scene.cluster.route["spec"]["rules"][0]["backendRefs"]
    return [(each["name"], each["weight"]) for each in backends if each["weight"]]


def two_routes(cluster: FakeCluster) -> None:
    second = deepcopy(cluster.route)
    second["metadata"] |= {"name": "second", "uid": "u-2"}
    cluster.put(GATEWAY_API, "HTTPRoute", second)


def test_the_name_of_one_object_undoes_the_promotion_of_all_that_went_with_it() -> None:
    """Also of one that a later rollout has moved and put back."""
    scene = Scene(before=two_routes, routes="all")
    plan = llm_plan(name="later", routes=[{"name": "second"}], stable=CANARY, canary="third")
    targets = tuple(each for each in scene.step.run.frozen.targets if each.name == "second")
    frozen = replace(scene.step.run.frozen, token="later", plan=plan, targets=targets)
    later = replace(scene.step.run, frozen=frozen, kind=kind_of(plan))
    later.attach()
    with pytest.raises(CommandRefused, match="moves HTTPRoute second now"):
        scene.undo("routes-to-llm")
    later.traffic.way_back.restore("it was worse", START)
    scene.undo("routes-to-llm")
    assert [carried(scene, each) for each in ("routes-to-llm", "second")] == [{STABLE}, {STABLE}]


def carried(scene: Scene, name: str) -> set[str]:
    return {pool for pool, weight in scene.weights(name).items() if weight}


@pytest.mark.parametrize("writes", [1, 2, 3])
def test_one_that_dies_between_two_writes_goes_back_and_can_be_said_again(
    writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(before=two_routes, routes="all")
    left = iter(range(writes))

    def write(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise SystemExit
        return Writer.write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("inference_rollouts.rollout.undo.Writer", type("Dying", (Writer,), {"write": write}))
        with pytest.raises(SystemExit):
            scene.undo()
    scene.after(UNDO_WATCH + 2.0)
    scene.after(1.0)
    assert [scene.weights(each) for each in ("routes-to-llm", "second")] == [NEW, NEW]
    assert CLAIM not in scene.cluster.notes() | scene.cluster.notes(name="second")
    scene.undo()
    assert [scene.weights(each) for each in ("routes-to-llm", "second")] == [OLD, OLD]


def meanwhile(monkeypatch: pytest.MonkeyPatch, scene: Scene, writes: int, act: Callable[[], object]) -> None:
    """Somebody acts after so many writes of the next undo."""
    left = iter(range(writes))

    def write(*arguments: Any) -> Any:
        if next(left, None) is None:
            monkeypatch.undo()
            act()
        return Writer.write(*arguments)

    monkeypatch.setattr("inference_rollouts.rollout.undo.Writer", type("Slow", (Writer,), {"write": write}))


def test_what_is_aborted_before_it_moves_does_not_move(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, scene, 1, lambda: command(scene.cluster, "llm", "abort", "ben", "it was right"))
    with pytest.raises(ClaimLost, match="on its way back to llm-pool-version-2"):
        scene.undo()
    assert scene.cluster.weights() == NEW
    assert CLAIM not in scene.cluster.notes()


def test_it_is_refused_where_the_old_pool_is_retired_at_the_same_moment(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, scene, 0, lambda: scene.cluster.scale(STABLE, 0))
    with pytest.raises(CommandRefused, match="llm-pool has no ready pods"):
        scene.undo()
    assert scene.cluster.weights() == NEW
    assert CLAIM not in scene.cluster.notes()


def test_all_routes_go_back_also_where_another_rollout_of_one_was_rolled_back_since() -> None:
    scene = Scene(before=two_routes, routes="all")
    run, plan = scene.step.run, llm_plan(routes="all", stable=CANARY, canary="llm-pool-version-3")
    frozen = replace(run.frozen, token="later", plan=plan, targets=run.frozen.targets[1:])
    later = replace(run, frozen=frozen, kind=kind_of(plan)).traffic
    later.attach()
    later.way_back.restore("an alarm", scene.now + 1.0)
    scene.undo()
    assert [scene.weights(each) for each in ("routes-to-llm", "second")] == [OLD, OLD]


def test_an_abort_does_so_too_and_nothing_else_commands_it(scene: Scene) -> None:
    scene.undo()
    with pytest.raises(CommandRefused, match="nothing else can be had but an abort"):
        command(scene.cluster, "llm", "promote_now", "anna", "")
    with pytest.raises(CommandRefused, match="A rollout moves HTTPRoute routes-to-llm now"):
        scene.undo()
    command(scene.cluster, "llm", "abort", "anna", "it was right")
    scene.after(5.0)
    assert scene.cluster.weights() == NEW


def test_the_switch_does_not_stop_it(scene: Scene) -> None:
    throw(scene.cluster, Mode.BACK, "ben", "an incident", 3600.0)
    scene.undo()
    scene.after(5.0)
    assert scene.cluster.weights() == OLD


def test_what_dies_while_it_is_completed_is_completed_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.undo()
    with monkeypatch.context() as patch:
        patch.setattr("inference_rollouts.rollout.undo.WayBack.restore", _dies)
        scene.after(UNDO_WATCH + 2.0)
    assert CLAIM in scene.cluster.notes()
    scene.after(1.0)
    assert CLAIM not in scene.cluster.notes()
    assert scene.cluster.weights() == OLD


def _dies(*_: object) -> None:
    raise RuntimeError("killed")


def test_it_is_refused_in_words_where_the_old_pool_cannot_carry_it(scene: Scene) -> None:
    scene.cluster.scale(STABLE, 1)
    with pytest.raises(CommandRefused, match="as it did with 3 ready pods: it has 1 now"):
        scene.undo()
    scene.cluster.scale(STABLE, 0)
    with pytest.raises(CommandRefused, match="llm-pool has no ready pods"):
        scene.undo()
    del scene.cluster.objects["InferencePool", STABLE]
    with pytest.raises(CommandRefused, match="There is no InferencePool llm-pool"):
        scene.undo()
    assert scene.cluster.weights() == NEW


def test_it_is_refused_where_nothing_was_promoted_or_others_have_moved(scene: Scene) -> None:
    with pytest.raises(CommandRefused, match="No promotion of elsewhere is remembered"):
        scene.undo("elsewhere")
    scene.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    with pytest.raises(RouteDrift, match="was changed by"):
        scene.undo()
    assert CLAIM not in scene.cluster.notes()


def test_it_is_undone_once(scene: Scene) -> None:
    scene.undo()
    scene.after(UNDO_WATCH + 2.0)
    last = read_ending(scene.cluster.route)
    assert last
    assert last.ending is Ending.PROMOTED
    with pytest.raises(CommandRefused, match="was undone already"):
        scene.undo()


def aftermath(scene: Scene, token: str = "") -> Aftermath:
    frozen = scene.step.run.frozen
    return aftermath_of(scene.cluster, "llm", frozen.run, token or frozen.token)


def test_what_an_undo_would_do_is_told_and_then_that_it_was_done(scene: Scene) -> None:
    before = scene.cluster.weights()
    offered = aftermath(scene)
    assert offered.offer.startswith(f"All traffic goes from {CANARY} back to {STABLE}.")
    assert (offered.undone, scene.cluster.weights()) == ("", before)
    scene.undo()
    assert aftermath(scene).offer == ""
    assert aftermath(scene).undone == "undone by anna: it rambles; guardrails watch it"
    scene.after(UNDO_WATCH + 2.0)
    assert aftermath(scene) == Aftermath(undone="undone by anna: it rambles")


def test_an_undo_that_was_sent_back_is_told_too(scene: Scene) -> None:
    scene.undo()
    scene.cluster.scale(STABLE, 0)
    scene.after(5.0)
    assert aftermath(scene).undone.startswith("an undo was sent back: ")


def test_no_undo_is_offered_that_would_be_refused(scene: Scene) -> None:
    assert aftermath(scene, token="an earlier run's") == Aftermath()
    scene.cluster.scale(STABLE, 1)
    assert aftermath(scene) == Aftermath()
    scene.cluster.scale(STABLE, 3)
    scene.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    assert aftermath(scene) == Aftermath()


def test_the_command_line_undoes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "cluster_of", lambda _: scene.cluster)
    assert main(["control", "llm", "undo", "--reason", "it rambles"]) == 0
    assert "All traffic goes from" in capsys.readouterr().out
    assert scene.cluster.weights() == OLD
