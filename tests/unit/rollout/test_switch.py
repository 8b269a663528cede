"""The switch that stops everything: thrown by one, obeyed by all, and it ends."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.cli import go, main, stop
from inference_rollouts.core.errors import ClusterUnavailable, CommandRefused, Held
from inference_rollouts.core.routing.claim import CLAIM, Phase
from inference_rollouts.core.routing.switch import SWITCH, Mode, switch_of
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.switch import put_back, read_switch, throw
from tests.support.plans import CANARY, STABLE
from tests.support.steps import START, Step

HALF = {STABLE: 50, CANARY: 50}


class Scene:
    """A canary with 50 % that may be raised, and a guardian, at `now`."""

    def __init__(self) -> None:
        self.now = START
        self.step = Step(START, clock=lambda: self.now)
        self.cluster = self.step.cluster
        self.step.run.traffic.permit(1, START)
        frozen = self.step.run.frozen
        self.wheel = Control(self.cluster, frozen.targets, frozen.token)
        self.guardian = Guardian(self.cluster, None, "guardian")

    def raise_it(self) -> None:
        self.step.run.traffic.shift(2, self.step.run.plan.all_steps[1], self.now)

    def phase(self) -> Phase:
        [claim] = self.step.run.traffic.claims()
        return claim.phase

    def throw(self, mode: str = "hold", who: str = "anna", seconds: float = 3600.0) -> Any:
        return throw(self.cluster, mode, who, "an incident", seconds)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_no_raise_begins_while_it_is_on_and_whoever_watches_pauses_what_is_in_flight(scene: Scene) -> None:
    scene.throw()
    with pytest.raises(Held, match=r"All rollouts are held until .* by anna: an incident"):
        scene.raise_it()
    scene.guardian.round()
    assert scene.phase() is Phase.PAUSED
    assert scene.cluster.weights() == HALF
    put_back(scene.cluster, "anna", "it is over")
    scene.guardian.round()
    assert scene.phase() is Phase.PROGRESSING
    scene.raise_it()
    assert scene.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_it_ends_by_itself(scene: Scene) -> None:
    scene.throw(seconds=60.0)
    scene.guardian.round()
    scene.now += 61.0
    scene.guardian.round()
    scene.raise_it()


def test_what_a_person_paused_stays_paused(scene: Scene) -> None:
    scene.wheel.give("pause", "ben", "lunch")
    scene.throw()
    scene.guardian.round()
    put_back(scene.cluster, "anna", "it is over")
    scene.guardian.round()
    assert scene.phase() is Phase.PAUSED


def test_it_sends_all_back(scene: Scene) -> None:
    scene.throw("back")
    scene.now += 100.0
    [ended] = scene.guardian.round().ended
    assert ended.why == "aborted by anna: an incident"
    assert scene.cluster.weights() == {STABLE: 1}


def test_where_it_cannot_be_read_nothing_is_raised(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    find = scene.cluster.find

    def unreadable(api: str, kind: str, name: str) -> Any:
        if name == SWITCH:
            raise ClusterUnavailable("GET", "/leases", 503, "away")
        return find(api, kind, name)

    monkeypatch.setattr(scene.cluster, "find", unreadable)
    with pytest.raises(ClusterUnavailable):
        scene.raise_it()
    assert scene.cluster.weights() == HALF
    scene.guardian.round()
    assert scene.phase() is Phase.PROGRESSING


def test_a_switch_that_nobody_understands_is_on(scene: Scene) -> None:
    scene.throw()
    scene.cluster.objects["Lease", SWITCH]["spec"]["leaseDurationSeconds"] = "long"
    switch = switch_of(scene.cluster.objects["Lease", SWITCH])
    assert switch
    assert switch.is_on(scene.now + 10**9)
    with pytest.raises(Held, match="delete it"):
        scene.raise_it()


@pytest.mark.parametrize(
    ("mode", "who", "seconds", "words"),
    [
        ("halt", "anna", 60.0, "hold or back, not halt"),
        ("hold", "", 60.0, "says who they are"),
        ("hold", "anna", 0.0, "for a second at least"),
        ("hold", "ben", 60.0, "sent back until .* by anna"),
    ],
)
def test_it_is_thrown_with_sense_or_not_at_all(
    scene: Scene, mode: str, who: str, seconds: float, words: str
) -> None:
    thrown = scene.throw("back")
    with pytest.raises(CommandRefused, match=words):
        scene.throw(mode, who, seconds)
    assert read_switch(scene.cluster) == thrown


def test_two_who_throw_it_at_once_are_told_apart(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.throw()
    apply = scene.cluster.apply
    raced: list[bool] = []

    def faster(manifest: Any, **how: Any) -> Any:
        if not raced:
            raced.append(True)
            scene.throw("back", "ben")
        return apply(manifest, **how)

    monkeypatch.setattr(scene.cluster, "apply", faster)
    with pytest.raises(CommandRefused, match=r"sent back until .* by ben"):
        scene.throw()


def test_the_command_line_stops_and_goes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where nobody watches, the claims say so at once."""
    for command in (stop, go):
        monkeypatch.setattr(command, "cluster_of", lambda _: scene.cluster)
    given = ["--reason", "an incident", "--who", "anna", "--for", "90m"]
    assert main(["stop", "-n", "shop", *given]) == 0
    assert scene.phase() is Phase.PAUSED
    told = capsys.readouterr().out
    assert "by anna: an incident.\nIn namespace shop: 1 in flight, 1 of them changed by this.\n" in told
    assert main(["go", "--reason", "it is over"]) == 0
    assert scene.phase() is Phase.PROGRESSING
    assert "Rollouts go on" in capsys.readouterr().out
    assert main(["go", "--reason", "again"]) == 0
    assert capsys.readouterr().out == "Nothing is stopped.\n"
    assert main(["stop", "--back", "--reason", "an incident"]) == 0
    assert scene.phase() is Phase.RETURNING
    assert CLAIM in scene.cluster.notes()


def test_it_is_thrown_also_where_somebody_has_edited_its_lease(scene: Scene) -> None:
    """In one write: whoever dies there leaves one or the other, never none."""
    scene.throw("hold")
    lease = copy.deepcopy(scene.cluster.objects["Lease", SWITCH])
    lease["spec"]["holderIdentity"] = "ben"
    scene.cluster.write_as("kubectl-edit", lease)
    writes = len(scene.cluster.writes)
    throw(scene.cluster, "back", "anna", "an incident", 60.0)
    switch = read_switch(scene.cluster)
    assert switch
    assert (switch.owner, switch.mode) == ("anna", Mode.BACK)
    assert scene.cluster.writes[writes:] == [("Lease", SWITCH)]


@pytest.mark.parametrize("why", ["", " ", "\t\n"])
def test_a_blank_is_no_reason(scene: Scene, why: str) -> None:
    with pytest.raises(CommandRefused, match="and why"):
        throw(scene.cluster, "hold", "anna", why, 60.0)
    assert read_switch(scene.cluster) is None
