"""Commands on the claims: guarded, in one order, finished by whoever comes next."""

from __future__ import annotations

from typing import Any, cast

import pytest

from inference_rollouts.cli import control as command
from inference_rollouts.cli import main
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import CommandRefused, Held, NotFound
from inference_rollouts.core.routing.claim import Command, Phase, What
from inference_rollouts.core.routing.control import hurried, is_paused
from inference_rollouts.rollout.claims import commands_to
from inference_rollouts.rollout.control import Control, control_of
from inference_rollouts.rollout.guardian import Guardian
from tests.support.traffic_rules import CANARY, STABLE, shares
from tests.support.traffic_world import Fate, Killed, Passing, Run, World


@pytest.fixture
def world() -> World:
    """Two routes with 20 % on the canary, whose first step has passed."""
    world = World(2)
    run = Run(world, "token")
    run.attach(0)
    run.pass_(0)
    run.shift(1)
    world.run = run  # type: ignore[attr-defined]
    return world


def run_of(world: World) -> Run:
    return cast(Run, cast(Any, world).run)


def latest_commands(world: World) -> list[Command]:
    return [claim.command for claim in run_of(world).traffic.claims() if claim.command]


def wheel(world: World, name: str = "route-1") -> Control:
    return control_of(cast(Cluster, world), name)


def test_a_command_stands_on_every_object_and_says_who_why_and_what_follows(world: World) -> None:
    told = wheel(world).give("pause", "anna", "the pager")
    assert told.startswith(
        "new keeps 20 % until somebody resumes it, is watched, and an alarm takes it back; "
        "after 7d it goes back of itself. "
    )
    claims = run_of(world).traffic.claims()
    assert [claim.phase for claim in claims] == [Phase.PAUSED, Phase.PAUSED]
    assert {str(claim.command) for claim in claims} == {"anna: the pager"}
    run_of(world).pass_(1)
    with pytest.raises(Held, match="anna: the pager"):
        run_of(world).shift(2)
    wheel(world).give("resume", "anna", "all is well")
    run_of(world).shift(2)


def test_what_a_dead_hand_left_halfway_is_finished(world: World) -> None:
    whole = wheel(world)
    world.fates = [Fate.FINE] * 4 + [Fate.KILLED_AFTER]
    with pytest.raises(Killed):
        whole.give("pause", "anna", "the pager")
    world.fates = []
    claims = whole.claims()
    assert [claim.phase for claim in claims] == [Phase.PAUSED, Phase.PROGRESSING]
    assert is_paused(claims)
    whole.obey(claims, lambda: None)
    assert [claim.phase for claim in whole.claims()] == [Phase.PAUSED, Phase.PAUSED]
    before = whole.claims()
    whole.obey(before, lambda: None)
    assert whole.claims() == before


def test_who_has_not_heard_what_came_of_a_command_gives_the_same_one_again(world: World) -> None:
    """The answer was lost, and so was what was read back: a pause was then refused as paused already."""
    world.fates = [Fate.FINE] * 3 + [Fate.LOST, Fate.REFUSED]
    with pytest.raises(Passing):
        wheel(world).give("pause", "anna", "the pager", "her run")
    world.fates = []
    told = wheel(world).give("pause", "anna", "the pager", "her run")
    assert told.startswith("new keeps 20 % until somebody resumes it")
    assert [claim.phase for claim in run_of(world).traffic.claims()] == [Phase.PAUSED, Phase.PAUSED]
    assert {each.sequence for each in latest_commands(world)} == {1}
    wheel(world).give("resume", "ben", "all is well")
    told = wheel(world).give("pause", "anna", "the pager", "her run")
    assert told.startswith("new keeps 20 %; since it was given there was resume by ben: all is well. ")
    assert not is_paused(run_of(world).traffic.claims())


def test_a_raise_that_is_tried_again_lets_no_other_step_pass(world: World) -> None:
    wheel(world).give("raise_now", "anna", "in a hurry", "her run")
    run_of(world).pass_(1)
    run_of(world).shift(2)
    told = wheel(world).give("raise_now", "anna", "in a hurry", "her run")
    assert "; since it was given step 1 of " in told
    assert hurried(run_of(world).traffic.claims()) is None
    wheel(world).give("raise_now", "anna", "in a hurry", "her next run")
    assert hurried(run_of(world).traffic.claims())


def test_a_guardian_obeys_an_abort(world: World) -> None:
    wheel(world).give("abort", "anna", "the pager")
    world.clock += 100.0
    [ended] = Guardian(cast(Cluster, world), None, "guardian", at_once=1).round().ended
    assert ended.why == "aborted by anna: the pager"
    assert all(CANARY not in shares(obj) and STABLE in shares(obj) for obj in world.objects.values())


def test_there_must_be_one_rollout_of_that_name(world: World) -> None:
    with pytest.raises(NotFound, match="No rollout of a plan elsewhere claims anything"):
        wheel(world, "elsewhere")
    assert wheel(world, run_of(world).plan.name).token == "token"
    with pytest.raises(CommandRefused, match="It is not paused"):
        wheel(world).give(What.RESUME, "anna", "")


def test_the_command_line_commands(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "cluster_of", lambda _: world)
    assert main(["control", "route-0", "abort", "--reason", "wrong model", "--who", "anna"]) == 0
    assert "all traffic of new goes back to llm-pool" in capsys.readouterr().out
    assert main(["control", "route-0", "pause", "--reason", "wait"]) == 2
    assert "on its way back" in capsys.readouterr().err


def test_what_was_commanded_is_remembered_when_it_has_ended(world: World) -> None:
    for what in ("pause", "resume") * 6:
        wheel(world).give(what, "anna", "lunch")
    wheel(world).give("abort", "ben", "the pager")
    run_of(world).rollback()
    told = [
        f"{each.what.value} by {each}" for each in commands_to(cast(Cluster, world), world.targets, "token")
    ]
    assert told[-3:] == ["pause by anna: lunch", "resume by anna: lunch", "abort by ben: the pager"]
    assert len(told) == 10
