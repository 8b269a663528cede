"""The way back needs the claims alone, takes each object for itself, and says what became of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClaimLost, ClaimUnreadable, RaiseRefused, RouteDrift
from inference_rollouts.core.routing.claim import CLAIM, Phase, Standing, read_claim
from inference_rollouts.rollout.claims import claimed_objects, way_back_of
from inference_rollouts.rollout.retrying import without_end
from inference_rollouts.rollout.way_back import Restored, WayBack
from tests.support.routes import ref
from tests.support.traffic_rules import CANARY, STABLE, shares
from tests.support.traffic_world import Fate, Killed, Passing, Run, World


def at_half(routes: int = 1) -> tuple[World, Run]:
    """A rollout at its second step, 50 %."""
    world = World(routes)
    run = Run(world, "token")
    run.attach(0)
    run.pass_(0)
    for step in (1, 2):
        run.shift(step)
        run.pass_(step)
    return world, run


def at_the_end(routes: int = 1) -> tuple[World, Run]:
    world, run = at_half(routes)
    run.shift(3)
    run.pass_(3)
    return world, run


def become(world: World, paths: list[str]) -> None:
    """Somebody makes other rules of the one that moves: with these paths, else as it is."""
    rules = world.objects["route-0"]["spec"]["rules"]
    ours = rules.pop()
    rules += [copy.deepcopy(ours) | {"matches": [{"path": {"type": "Exact", "value": p}}]} for p in paths]


def restore(run: Run) -> Restored:
    return run.traffic.way_back.restore("a test", 9.0)


class TestRaises:
    def test_a_step_is_raised_only_when_the_one_before_passed_on_this_claim(self) -> None:
        world = World(1)
        run = Run(world, "token")
        run.attach(0)
        with pytest.raises(RaiseRefused, match="the warm-up passed"):
            run.shift(1)
        run.pass_(0)
        run.shift(1)
        with pytest.raises(RaiseRefused, match="step 1 passed"):
            run.shift(2)
        assert shares(world.objects["route-0"])[CANARY] * 100 == 20

    def test_a_verdict_of_an_earlier_try_permits_nothing(self) -> None:
        world, first = at_half()
        assert restore(first) is Restored.DONE
        second = Run(world, "another")
        second.attach(0)
        with pytest.raises(RaiseRefused):
            second.shift(1)
        with pytest.raises(ClaimLost):
            first.pass_(2)

    def test_a_shift_that_is_repeated_changes_nothing(self) -> None:
        world, run = at_half()
        before = dict(world.objects)
        run.shift(2)
        assert dict(world.objects) == before

    def test_promotion_needs_the_last_step_and_all_of_the_traffic(self) -> None:
        _, run = at_half()
        with pytest.raises(RaiseRefused, match="not 100 %"):
            run.promote(0)
        run.shift(3)
        with pytest.raises(RaiseRefused, match="step 3 passed"):
            run.promote(0)

    def test_promoting_what_somebody_put_back_is_no_promotion(self) -> None:
        world, run = at_the_end()
        refs = world.objects["route-0"]["spec"]["rules"][1]["backendRefs"]
        refs[0]["weight"], refs[1]["weight"] = 100, 0
        with pytest.raises(RouteDrift):
            run.promote(0)

    def test_a_plan_that_lost_steps_meanwhile_is_not_promoted_without_their_verdicts(self) -> None:
        world, run = at_the_end()
        claim = read_claim(world.objects["route-0"])
        assert claim is not None
        longer = claim.with_(steps=5)
        world.objects["route-0"]["metadata"]["annotations"][CLAIM] = longer.to_json()
        with pytest.raises(RaiseRefused, match="step 5 passed"):
            run.promote(0)


class TestRestoring:
    @pytest.mark.parametrize("fate", [Fate.REFUSED, Fate.LOST, Fate.KILLED_BEFORE, Fate.KILLED_AFTER])
    @pytest.mark.parametrize("call", range(8))
    def test_it_may_fail_at_any_call_and_be_tried_again(self, fate: Fate, call: int) -> None:
        world, run = at_half(2)
        world.fates = [Fate.FINE] * call + [fate]
        try:
            done = restore(run)
        except (Passing, Killed):
            world.fates = []
            done = restore(run)
        assert done is Restored.DONE
        assert all(world.as_found(name) for name in world.objects)
        assert run.traffic.standings() == [Standing.RESTORED] * 2

    def test_a_lost_answer_to_the_restoring_patch_is_read_back(self) -> None:
        world, run = at_half()
        world.fates = [Fate.FINE, Fate.FINE, Fate.LOST]
        assert restore(run) is Restored.DONE

    def test_an_object_that_is_gone_keeps_no_other_from_being_restored(self) -> None:
        world, run = at_half(2)
        world.objects.remove("route-0")
        assert restore(run) is Restored.DONE
        assert world.as_found("route-1")
        assert run.traffic.standings() == [Standing.GONE, Standing.RESTORED]

    def test_an_unreadable_claim_is_told_and_the_others_are_restored(self) -> None:
        world, run = at_half(2)
        world.objects["route-0"]["metadata"]["annotations"][CLAIM] = '{"places": []}'
        with pytest.raises(ClaimUnreadable, match="route-0 is unreadable"):
            restore(run)
        assert world.as_found("route-1")
        assert run.traffic.standings() == [Standing.UNREADABLE, Standing.RESTORED]

    @pytest.mark.parametrize("harm", [None, '{"places": []}'])
    def test_the_whole_way_back_takes_each_object_for_itself(self, harm: str | None) -> None:
        world, run = at_half(2)
        if harm is None:
            world.objects.remove("route-0")
            run.rollback()
        else:
            world.objects["route-0"]["metadata"]["annotations"][CLAIM] = harm
            with pytest.raises(ClaimUnreadable):
                run.rollback()
        assert world.as_found("route-1")

    def test_foreign_weights_are_left_and_told(self) -> None:
        world, run = at_half()
        world.objects["route-0"]["spec"]["rules"][1]["backendRefs"][1]["weight"] = 7
        with pytest.raises(RouteDrift):
            restore(run)
        assert run.traffic.standings() == [Standing.CLAIMED]

    def test_after_an_alarm_our_own_two_go_back_whatever_stands_beside(self) -> None:
        world, run = at_half()
        world.objects["route-0"]["spec"]["rules"][1]["backendRefs"][1]["weight"] = 7
        run.alarm(2)
        assert shares(world.objects["route-0"]) == {STABLE: 1}
        assert restore(run) is Restored.DONE

    @pytest.mark.parametrize("paths", [["/v1"], ["/v1", "/v2"]])
    def test_after_an_alarm_what_somebody_made_of_our_rule_goes_back_too(self, paths: list[str]) -> None:
        world, run = at_half()
        become(world, paths)
        run.alarm(2)
        assert restore(run) is Restored.DONE
        _, *made = world.objects["route-0"]["spec"]["rules"]
        assert [rule["backendRefs"] for rule in made] == [[ref(STABLE, 60)]] * len(paths)

    def test_after_an_alarm_the_one_that_two_of_ours_became_goes_back_too(self) -> None:
        world = World(1)
        rules = world.objects["route-0"]["spec"]["rules"]
        rules.append(copy.deepcopy(rules[1]) | {"matches": [{"path": {"type": "Exact", "value": "/v2"}}]})
        run = Run(world, "token")
        for act in (run.attach, run.pass_):
            act(0)
        run.shift(1)
        _, first, second = world.objects["route-0"]["spec"]["rules"]
        first["matches"] += second["matches"]
        del world.objects["route-0"]["spec"]["rules"][2]
        run.alarm(1)
        assert restore(run) is Restored.DONE
        assert [rule["backendRefs"] for rule in world.objects["route-0"]["spec"]["rules"]][1:] == [
            [ref(STABLE, 60)]
        ]

    def test_where_our_rule_is_there_one_like_it_is_somebody_elses(self) -> None:
        world, run = at_half()
        rules = world.objects["route-0"]["spec"]["rules"]
        theirs = copy.deepcopy(rules[1]) | {"matches": [{"path": {"type": "Exact", "value": "/v1"}}]}
        rules.insert(0, theirs)
        run.alarm(2)
        assert restore(run) is Restored.DONE
        assert world.objects["route-0"]["spec"]["rules"][0] == theirs

    def test_a_rule_that_somebody_made_another_for_the_canary_alone_is_not_let_go(self) -> None:
        world, run = at_half()
        become(world, ["/v1"])
        del world.objects["route-0"]["spec"]["rules"][1]["backendRefs"][0]
        run.alarm(2)
        with pytest.raises(RouteDrift, match="gone"):
            restore(run)
        assert run.traffic.standings() == [Standing.CLAIMED]

    @pytest.mark.parametrize("committed", [0, 1, 2])
    def test_a_promotion_that_was_decided_is_completed_else_all_goes_back(self, committed: int) -> None:
        world, run = at_the_end(2)
        world.fates = [Fate.FINE] * (3 * committed) + [Fate.KILLED_BEFORE]
        with pytest.raises(Killed):
            run.promote(0)
        world.fates = []
        done = restore(run)
        assert done is (Restored.COMMITTED if committed == 2 else Restored.DONE)
        ends = [world.promoted if committed == 2 else world.as_found] * 2
        assert all(end(name) for end, name in zip(ends, world.objects, strict=True))

    def test_one_that_is_being_decided_all_the_while_keeps_nothing_from_going_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Object after object, each at the moment in which the way back has looked at it."""
        world, run = at_the_end(8)
        traffic, seen, tries = run.traffic, WayBack._committed, []
        undecided = list(traffic.targets)

        def looked(way_back: WayBack) -> Any:
            committed = seen(way_back)
            if undecided:
                traffic.writer.write(undecided.pop(0), traffic._commit)
            return committed

        def tried() -> Restored:
            tries.append(len(undecided))
            return restore(run)

        monkeypatch.setattr(WayBack, "_committed", looked)
        assert without_end(sleep=lambda _: None)(tried) is Restored.DONE
        assert len(tries) == 2
        assert all(map(world.as_found, world.objects))

    def test_what_is_known_by_its_claims_alone_is_completed_too(self) -> None:
        world, run = at_the_end(2)
        world.fates = [Fate.FINE] * 8 + [Fate.KILLED_BEFORE]
        with pytest.raises(Killed):
            run.promote(0)
        world.fates = []
        assert run.traffic.standings() == [Standing.PROMOTED, Standing.CLAIMED]
        assert way_back_of(cast(Cluster, world), "token").restore("by hand", 9.0) is Restored.COMMITTED
        assert all(world.promoted(name) for name in world.objects)

    def test_nothing_is_what_it_says_where_it_never_claimed(self) -> None:
        world = World(2)
        assert restore(Run(world, "token")) is Restored.NOTHING

    def test_what_was_promoted_is_not_called_nothing(self) -> None:
        _, run = at_the_end()
        run.promote(0)
        assert restore(run) is Restored.COMMITTED


class TestTakingOver:
    @pytest.mark.parametrize("end", [lambda run: run.alarm(2), lambda run: run.rollback()])
    def test_no_raise_follows(self, end: Callable[[Run], None]) -> None:
        _, run = at_half(2)
        end(run)
        with pytest.raises(ClaimLost):
            run.shift(3)

    def test_an_alarm_marks_every_object_before_it_moves_one(self) -> None:
        world, run = at_half(2)
        phases = []
        patch = world.patch

        def seen(*args: object) -> object:
            claims = [read_claim(obj) for obj in world.objects.values()]
            phases.append([claim.phase for claim in claims if claim])
            return patch(*args)  # type: ignore[arg-type]

        world.patch = seen  # type: ignore[method-assign,assignment]
        run.alarm(2)
        assert phases[2] == [Phase.RETURNING] * 2

    def test_while_stable_cannot_take_it_the_canary_holds_it_and_nothing_is_raised(self) -> None:
        world, run = at_half()
        run.traffic.way_back.hold(100, "stable is gone")
        assert shares(world.objects["route-0"]) == {CANARY: 1}
        with pytest.raises(ClaimLost):
            run.shift(3)
        assert restore(run) is Restored.DONE
        assert world.as_found("route-0")


class TestAllClaims:
    def test_they_are_found_in_the_cluster_alone(self) -> None:
        world, run = at_half(2)
        assert [str(each.target) for each in claimed_objects(world)] == [  # type: ignore[arg-type]
            "HTTPRoute route-0",
            "HTTPRoute route-1",
        ]
        way_back = way_back_of(world, run.token)  # type: ignore[arg-type]
        assert way_back.restore("by hand", 9.0) is Restored.DONE
        assert all(world.as_found(name) for name in world.objects)
