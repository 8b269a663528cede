"""The leases by which guardians and tasks know of each other, and one that says nothing true."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable, PatchRefused
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.core.routing.watch import SHARE_LABEL, STEP_LABEL
from inference_rollouts.rollout.watching import Watcher
from inference_rollouts.rollout.way_back import Restored
from tests.support.guardian_scene import LEASE, LEASE_SECONDS, Scene
from tests.support.plans import CANARY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("renewTime", "2099-01-01T00:00:00.000000Z"),
        ("leaseDurationSeconds", 2_000_000_000),
        ("holderIdentity", None),
        ("renewTime", None),
    ],
)
def test_a_lease_that_somebody_edited_or_another_clock_wrote_keeps_it_from_watching_for_no_longer(
    field: str, value: Any
) -> None:
    scene = Scene()
    scene.cluster.objects["Lease", LEASE]["spec"][field] = value
    scene.cluster.scale(CANARY, 0)
    assert scene.after(LEASE_SECONDS + 1).ended
    assert scene.as_found


def test_whoever_watches_for_airflow_takes_the_lease_back() -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    Watcher(scene.cluster, "triggerer").renew([scene.cluster.route], scene.step.run.frozen.token)
    assert scene.after(1).watching == 0
    assert scene.holder == "triggerer"


def test_of_several_guardians_one_watches() -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    assert scene.after(1, scene.another("guardian b")).watching == 0
    assert scene.holder == "guardian a"


def test_a_guardian_that_was_slower_leaves_the_lease_to_the_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()

    def faster(*_: object, **__: object) -> None:
        raise ClusterUnavailable("PATCH", "/leases", 409, "the object has been modified")

    monkeypatch.setattr(scene.cluster, "apply", faster)
    assert scene.after(LEASE_SECONDS + 1).watching == 0


def test_a_guardian_that_may_not_write_leases_watches_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()

    def forbidden(*_: object, **__: object) -> None:
        raise ClusterUnavailable("PATCH", "/leases", 403, "may not")

    monkeypatch.setattr(scene.cluster, "apply", forbidden)
    scene.cluster.scale(CANARY, 0)
    assert [ended.how for ended in scene.after(LEASE_SECONDS + 1).ended] == [Restored.DONE]


@pytest.mark.parametrize("error", [PatchRefused("invalid"), ClusterRefused("invalid"), ValueError("a year")])
def test_a_lease_that_cannot_be_written_keeps_nothing_from_being_watched(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(scene.cluster, "apply", refused)
    scene.cluster.scale(CANARY, 0)
    assert [ended.how for ended in scene.after(LEASE_SECONDS + 1).ended] == [Restored.DONE]


def test_a_lease_that_somebody_took_by_hand_is_taken_back() -> None:
    scene = Scene()
    mine = Watcher(scene.cluster, "triggerer")
    for take in (
        lambda: scene.after(LEASE_SECONDS + 1),
        lambda: mine.renew([scene.cluster.route], scene.step.run.frozen.token),
    ):
        lease = copy.deepcopy(scene.cluster.objects["Lease", LEASE])
        lease["spec"]["holderIdentity"] = "anna"
        scene.cluster.write_as("kubectl-edit", lease)
        take()
        assert scene.holder in ("guardian a", "triggerer")


def test_a_lease_that_is_left_over_goes_when_it_has_expired() -> None:
    scene = Scene()
    del scene.cluster.route["metadata"]["annotations"][CLAIM]
    scene.after(1)
    assert scene.holder, "its rollout may have just begun"
    assert scene.after(LEASE_SECONDS).rollouts == 0
    assert scene.holder is None


def test_the_lease_says_where_the_rollout_stands() -> None:
    scene = Scene()
    labels = scene.cluster.objects["Lease", LEASE]["metadata"]["labels"]
    assert (labels[STEP_LABEL], labels[SHARE_LABEL]) == ("1-of-2", "50")
    assert labels["app.kubernetes.io/managed-by"] == "inference-rollouts"
