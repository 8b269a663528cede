"""The verbs that move routes, against races, crashes and other people; several routes move or none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimLost, PatchRefused, RaiseRefused, RouteDrift
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.routing.claim import CLAIM, ENDING, Standing, read_ending
from inference_rollouts.rollout.way_back import Restored
from tests.support.traffic_rules import CANARY, STABLE, shares
from tests.support.traffic_world import WEIGHTS, Fate, Killed, Passing, Run, World

FIRST, SECOND = "route-0", "route-1"
MIRROR = Step(weight=0, mirror=20, bake=1)
CALLS = 2  # of one write: it is read, it is patched


def attached(routes: int = 1, reached: int = 0) -> tuple[World, Run]:
    """A rollout that has passed its warm-up and so many steps."""
    world = World(routes)
    run = Run(world, "token")
    run.attach(0)
    run.pass_(0)
    for step in range(1, reached + 1):
        run.shift(step)
        run.pass_(step)
    world.events.clear()
    return world, run


def without_ending(obj: dict[str, Any]) -> tuple[Any, Any]:
    notes = obj["metadata"].get("annotations", {})
    return obj["spec"], {key: value for key, value in notes.items() if key != ENDING}


def exactly_as_found(world: World) -> bool:
    return all(
        without_ending(obj) == without_ending(world.found[name]) for name, obj in world.objects.items()
    )


def specs(world: World) -> dict[str, Any]:
    return {name: obj["spec"] for name, obj in world.objects.items()}


def percents(run: Run) -> list[int]:
    return [claim.percent for claim in run.traffic.claims()]


def weights(world: World, name: str = FIRST) -> list[dict[str, Any]]:
    """The list that moves."""
    refs: list[dict[str, Any]] = world.objects[name]["spec"]["rules"][1]["backendRefs"]
    return refs


def touched(world: World) -> None:
    """Somebody writes to a route what is nothing to us."""
    meta = world.objects[FIRST]["metadata"]
    meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)


def races(
    monkeypatch: pytest.MonkeyPatch, world: World, losses: int, act: Callable[[World], object] = touched
) -> list[Callable[[World], object]]:
    """Somebody writes so often between a read of ours and the patch that follows; what is still to come."""
    patch, left = world.objects.patch, [act] * losses

    def late(name: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
        if left:
            left.pop()(world)
        return patch(name, ops)

    monkeypatch.setattr(world.objects, "patch", late)
    return left


def refuses(monkeypatch: pytest.MonkeyPatch, world: World, name: str) -> None:
    """Every patch of this route is refused."""
    patch = world.patch

    def refusing(api: str, kind: str, which: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
        if which == name:
            raise PatchRefused("the test did not hold")
        return patch(api, kind, which, ops)

    monkeypatch.setattr(world, "patch", refusing)


class TestOneRoute:
    def test_every_verb_may_be_repeated_and_is_told_once(self) -> None:
        world = World(1)
        run = Run(world, "token")
        for act in (run.attach, run.pass_):
            act(0)
            act(0)
        step = run.frozen.plan.all_steps[0]
        since = {run.traffic.shift(1, step, now) for now in (100.0, 200.0)}
        assert since == {100.0}, "a repeated shift keeps the time of the first"
        for _ in range(2):
            run.alarm(1)
        way_back = run.traffic.way_back
        assert [way_back.restore("slow", 9.0) for _ in range(2)] == [Restored.DONE] * 2
        assert exactly_as_found(world)
        assert world.events == ["CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"]

    def test_promotion_may_be_repeated_and_is_told_once(self) -> None:
        world, run = attached(reached=3)
        for _ in range(2):
            run.promote(0)
        assert world.events == ["Promoted"]
        assert run.traffic.standings() == [Standing.PROMOTED]

    def test_what_this_very_try_promoted_is_not_claimed_again(self) -> None:
        world, run = attached(reached=len(WEIGHTS))
        run.promote(0)
        promoted = dict(world.objects)
        with pytest.raises(ClaimLost, match="promoted by this very try"):
            run.attach(0)
        assert dict(world.objects) == promoted

    def test_a_second_rollout_cannot_attach_permit_shift_retreat_or_restore(self) -> None:
        world, _ = attached(reached=1)
        before = dict(world.objects)
        other = Run(world, "other", "rollout_llm/other")
        with pytest.raises(ClaimLost, match="claimed by rollout_llm/r1"):
            other.attach(0)
        for act in (other.pass_, other.shift, other.alarm):
            with pytest.raises(ClaimLost):
                act(1)
        assert other.traffic.way_back.restore("x", 9.0) is Restored.NOTHING
        assert dict(world.objects) == before

    def test_a_race_against_a_harmless_write_is_run_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(1)
        left = races(monkeypatch, world, WRITE_ATTEMPTS - 1)
        Run(world, "token").attach(0)
        assert [each["name"] for each in weights(world)] == [STABLE, CANARY]
        assert not left

    def test_a_race_that_is_lost_again_and_again_gives_up_without_a_write(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(1)
        run = Run(world, "token")
        left = races(monkeypatch, world, WRITE_ATTEMPTS)
        with pytest.raises(PatchRefused):
            run.attach(0)
        assert not left
        assert exactly_as_found(world)
        assert run.traffic.standings() == [Standing.FREE]
        assert world.events == []

    def test_a_race_against_somebody_elses_weights_is_drift(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world, run = attached()
        races(monkeypatch, world, 1, lambda world: weights(world)[1].update(weight=7))
        with pytest.raises(RouteDrift):
            run.shift(1)
        assert weights(world)[1]["weight"] == 7
        assert percents(run) == [0]

    def test_a_restore_never_overwrites_somebody_elses_weights(self) -> None:
        world, run = attached(reached=1)
        weights(world)[0]["weight"], weights(world)[1]["weight"] = 3, 1
        theirs = dict(world.objects)
        with pytest.raises(RouteDrift, match="left as they are"):
            run.traffic.way_back.restore("x", 9.0)
        assert dict(world.objects) == theirs

    def test_weights_that_others_put_back_are_let_go(self) -> None:
        world, run = attached(reached=1)
        world.objects[FIRST]["spec"] = world.found[FIRST]["spec"]
        assert run.traffic.way_back.restore("x", 9.0) is Restored.BY_OTHERS
        assert exactly_as_found(world)
        assert run.traffic.standings() == [Standing.RESTORED]


class TestSeveralRoutes:
    def test_they_move_together_and_come_back(self) -> None:
        world, run = attached(2)
        for step, percent in enumerate(WEIGHTS, start=1):
            run.shift(step)
            run.pass_(step)
            assert percents(run) == [percent, percent]
            assert all(shares(obj)[CANARY] * 100 == percent for obj in world.objects.values())
        assert run.traffic.way_back.restore("x", 9.0) is Restored.DONE
        assert exactly_as_found(world)
        world.check()

    @pytest.mark.parametrize("reached", [0, 1])
    def test_a_raise_that_the_second_refuses_is_undone_on_the_first(
        self, monkeypatch: pytest.MonkeyPatch, reached: int
    ) -> None:
        world, run = attached(2, reached)
        before, claims = specs(world), run.traffic.claims()
        with monkeypatch.context() as broken:
            refuses(broken, world, SECOND)
            with pytest.raises(PatchRefused):
                run.shift(reached + 1)
        assert specs(world) == before
        assert run.traffic.claims() == claims, "with the permission, so that it may be tried again"
        run.shift(reached + 1)
        assert percents(run) == [WEIGHTS[reached]] * 2
        world.check()

    def test_a_raise_whose_answer_was_lost_is_undone_too(self) -> None:
        world, run = attached(2)
        before = specs(world)
        world.fates = [Fate.FINE, Fate.FINE, Fate.LOST, *[Fate.FINE] * 3, Fate.REFUSED]
        with pytest.raises(Passing):
            run.shift(1)
        assert specs(world) == before

    def test_a_mirror_that_the_second_refuses_is_ended_on_the_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, run = attached(2)
        before = specs(world)
        with monkeypatch.context() as broken:
            refuses(broken, world, SECOND)
            with pytest.raises(PatchRefused):
                run.traffic.shift(1, MIRROR, 1.0)
        assert specs(world) == before
        run.traffic.shift(1, MIRROR, 2.0)
        assert [claim.mirror for claim in run.traffic.claims()] == [20, 20]
        assert specs(world) != before
        run.alarm(1)
        assert specs(world) == before

    def test_an_attach_that_the_second_refuses_leaves_no_trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(2)
        run = Run(world, "token")
        with monkeypatch.context() as broken:
            refuses(broken, world, SECOND)
            with pytest.raises(PatchRefused):
                run.attach(0)
        assert exactly_as_found(world)
        assert run.traffic.claims() == []
        last = read_ending(world.objects[FIRST])
        assert last
        assert last.at == world.clock, "an undo finds the latest promotion by it"
        run.attach(0)
        assert percents(run) == [0, 0], "and may be tried again"

    def test_an_attach_that_the_second_has_claimed_already_leaves_no_trace(self) -> None:
        world = World(2)
        run = Run(world, "token")
        holder = Run(world, "other", "rollout_llm/other").traffic
        holder.targets = world.targets[1:]
        holder.attach()
        theirs = world.objects[SECOND]
        with pytest.raises(ClaimLost, match="route-1 is claimed by rollout_llm/other"):
            run.attach(0)
        assert without_ending(world.objects[FIRST]) == without_ending(world.found[FIRST])
        assert world.objects[SECOND] == theirs

    @pytest.mark.parametrize(
        "fates", [[Fate.FINE] * 5 + [Fate.KILLED_BEFORE], [Fate.FINE, Fate.FINE, Fate.KILLED_AFTER]]
    )
    def test_what_dies_between_two_writes_is_completed_by_a_retry(self, fates: list[Fate]) -> None:
        world, run = attached(2)
        step = run.frozen.plan.all_steps[0]
        world.fates = list(fates)
        with pytest.raises(Killed):
            run.traffic.shift(1, step, 1.0)
        world.fates = []
        assert percents(run) == [20, 0]
        assert run.traffic.shift(1, step, 9.0) == 9.0, "the step begins when the last route has moved"
        assert percents(run) == [20, 20]
        run.pass_(1)
        run.shift(2)
        assert percents(run) == [50, 50]
        world.check()

    @pytest.mark.parametrize("reached", [0, 1])
    def test_what_died_between_two_writes_is_put_back_where_the_retry_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, reached: int
    ) -> None:
        world, run = attached(2, reached)
        before, claims = specs(world), run.traffic.claims()
        world.fates = [Fate.FINE] * 3 + [Fate.KILLED_BEFORE]
        with pytest.raises(Killed):
            run.shift(reached + 1)
        refuses(monkeypatch, world, SECOND)
        with pytest.raises(PatchRefused):
            run.shift(reached + 1)
        assert specs(world) == before
        assert run.traffic.claims() == claims

    def test_an_attach_that_died_between_two_writes_is_completed_by_a_retry(self) -> None:
        world = World(2)
        run = Run(world, "token")
        world.fates = [Fate.FINE] * CALLS + [Fate.KILLED_BEFORE]
        with pytest.raises(Killed):
            run.attach(0)
        assert CLAIM in world.objects[FIRST]["metadata"]["annotations"]
        run.attach(0)
        assert percents(run) == [0, 0]

    def test_a_permission_that_reached_one_route_only_raises_none(self) -> None:
        world, run = attached(2, reached=1)
        run.shift(2)
        world.fates = [Fate.FINE] * CALLS + [Fate.REFUSED]
        with pytest.raises(Passing):
            run.pass_(2)
        world.fates = []
        with pytest.raises(RaiseRefused):
            run.shift(3)
        assert percents(run) == [50, 50]
        run.pass_(2)
        run.shift(3)
        assert percents(run) == [100, 100]

    @pytest.mark.parametrize("broken", [FIRST, SECOND])
    def test_a_retreat_takes_the_canary_off_wherever_it_can(
        self, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        world, run = attached(2, reached=2)
        refuses(monkeypatch, world, broken)
        with pytest.raises(PatchRefused):
            run.alarm(2)
        assert sorted(percents(run)) == [0, 50]

    def test_a_restore_goes_on_after_a_route_that_others_changed(self) -> None:
        world, run = attached(2, reached=2)
        weights(world)[0]["weight"] = 7
        with pytest.raises(RouteDrift):
            run.traffic.way_back.restore("x", 9.0)
        assert without_ending(world.objects[SECOND]) == without_ending(world.found[SECOND])


class TestAdmission:
    """Webhooks and policies that make something else of what a rollout writes."""

    def makes(
        self, world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any], Any], object]
    ) -> None:
        """Of each write it makes a `change`, which is given the spec before."""
        patch = world.objects.patch

        def admitted(name: str, ops: list[dict[str, Any]]) -> dict[str, Any]:
            before = copy.deepcopy(world.objects[name]["spec"])
            patch(name, ops)
            world.objects.edit(name, lambda obj: change(obj, before))
            return world.objects[name]

        monkeypatch.setattr(world.objects, "patch", admitted)

    def test_a_raise_of_which_it_makes_another_is_taken_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world, run = attached(2, 1)
        before = specs(world)

        def clamp(obj: dict[str, Any], _: object) -> None:
            if obj["metadata"]["name"] == SECOND and shares(obj)[CANARY] > Fraction(1, 5):
                obj["spec"]["rules"][1]["backendRefs"][1]["weight"] = 1

        self.makes(world, monkeypatch, clamp)
        with pytest.raises(
            RouteDrift, match=r"webhook or policy .*: it makes llm-pool 50, new 1 of llm-pool"
        ):
            run.shift(2)
        assert specs(world) == before
        assert percents(run) == [20, 20]
        run.rollback()
        assert exactly_as_found(world)

    def test_what_others_write_while_an_answer_is_lost_is_not_taken_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, run = attached(1, 1)
        self.makes(world, monkeypatch, lambda obj, _: touch(obj))
        world.fates = [*[Fate.FINE] * CALLS, Fate.LOST]  # the switch is read, too
        run.shift(2)
        assert weights(world)[1]["weight"] == 9

    @pytest.mark.parametrize("alarmed", [False, True])
    def test_what_it_keeps_from_being_restored_is_not_called_so_and_goes_back_when_it_can(
        self, monkeypatch: pytest.MonkeyPatch, *, alarmed: bool
    ) -> None:
        world, run = attached(1, 1)
        with monkeypatch.context() as patched:
            self.makes(world, patched, lambda obj, before: obj.update(spec=before))
            if alarmed:
                run.alarm(1)
            with pytest.raises(RouteDrift, match="new 20 of the weights as found, llm-pool 60"):
                run.rollback()
            assert run.traffic.standings() == [Standing.CLAIMED]
            assert "RolledBack" not in world.events
        run.rollback()
        assert world.as_found(FIRST)


def touch(obj: dict[str, Any]) -> None:
    obj["spec"]["rules"][1]["backendRefs"][1]["weight"] = 9
