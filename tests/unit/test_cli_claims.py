"""`inference-rollouts get` and `restore`: claims listed and ended from the cluster alone."""

from __future__ import annotations

import pytest

from inference_rollouts.cli import get, main, restore
from inference_rollouts.core.routing.claim import CLAIM
from tests.support.read_only_cluster import says
from tests.support.traffic_rules import CANARY, STABLE, shares
from tests.support.traffic_world import Run, World

PLAN = "llm"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Two routes with 20 % on the canary."""
    world = World(2)
    run = Run(world, "token")
    run.attach(0)
    run.pass_(0)
    run.shift(1)
    for command in (get, restore):
        monkeypatch.setattr(command, "cluster_of", lambda _: world)
    return world


def test_get_lists_every_claim(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get"]) == 0
    head, *rows, headline = capsys.readouterr().out.splitlines()
    assert headline.startswith("new: 20 % (step 1 of 3) - being judged - watched by ")
    assert head.split()[:3] == ["OBJECT", "PLAN", "STABLE"]
    assert [row.split()[0] for row in rows] == ["httproute/route-0", "httproute/route-1"]
    assert "1/3" in rows[0]
    assert "20 %" in rows[0]


def test_get_says_when_there_is_none_and_when_one_is_unreadable(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.objects["route-0"]["metadata"]["annotations"][CLAIM] = "{}"
    assert main(["get"]) == 1
    assert "route-0 is unreadable" in capsys.readouterr().out
    world.objects.remove("route-0")
    world.objects.remove("route-1")
    assert main(["get", "-n", "shop"]) == 0
    assert capsys.readouterr().out == "No rollout claims anything in namespace shop.\n"


def test_restore_ends_the_whole_rollout_of_an_object(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", "route-1"]) == 0
    told = "HTTPRoute route-0, HTTPRoute route-1: done\nall gateways have taken the weights\n"
    assert capsys.readouterr().out == told
    assert all(world.as_found(name) for name in world.objects)
    assert main(["restore", "route-1"]) == 2
    assert "none claims an object route-1" in capsys.readouterr().err


def test_restore_leaves_foreign_weights_unless_it_is_forced(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for obj in world.objects.values():
        obj["spec"]["rules"][1]["backendRefs"][1]["weight"] = 7
    assert main(["restore", "route-0"]) == 2
    assert "was changed by" in capsys.readouterr().err
    assert CANARY in shares(world.objects["route-0"])
    assert main(["restore", "route-0", "--force"]) == 0
    assert shares(world.objects["route-0"]) == {STABLE: 1}


def test_restore_says_which_gateway_has_not_taken_it_yet(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("inference_rollouts.rollout.confirmation.CONFIRMATION_DEADLINE", 0.0)
    for obj in world.objects.values():
        obj["spec"]["parentRefs"] = [{"name": "gw"}]
        obj["metadata"]["generation"] = 2
        obj["status"] = {"parents": [says({"name": "gw"}, generation=1)]}
    assert main(["restore", "route-0"]) == 0
    assert "done\nnot yet confirmed: " in capsys.readouterr().out
    assert world.as_found("route-0")


def test_restore_of_an_unreadable_claim_says_what_to_do(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.objects["route-0"]["metadata"]["annotations"][CLAIM] = "{}"
    assert main(["restore", "route-0"]) == 2
    assert "Set them by hand" in capsys.readouterr().err
    assert main(["restore", PLAN]) == 0
    assert capsys.readouterr().out.startswith("HTTPRoute route-1: done\n")


@pytest.mark.parametrize("name", [PLAN, "httproute/route-1"])
def test_a_rollout_goes_by_each_name_that_get_shows(world: World, name: str) -> None:
    assert main(["restore", name]) == 0
    assert all(world.as_found(each) for each in world.objects)


def test_a_name_that_means_several_rollouts_ends_none(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = world.objects["route-1"]["metadata"]["annotations"]
    claim[CLAIM] = claim[CLAIM].replace('"token":"token"', '"token":"another"')
    assert main(["restore", PLAN]) == 2
    said = f"Several rollouts are called {PLAN}. Say which: httproute/route-0 or httproute/route-1.\n"
    assert capsys.readouterr().err == said
    assert not any(world.as_found(each) for each in world.objects)
    assert main(["restore", "httproute/route-1"]) == 0
    assert [world.as_found(each) for each in ("route-0", "route-1")] == [False, True]
