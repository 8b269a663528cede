"""What the cluster remembers of versions: guarded, told once, and readable or refused."""

from __future__ import annotations

import math

import pytest

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import ENDING, Ending, LastEnding
from inference_rollouts.core.routing.patches import ending_of
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.versions.memory import Allowed, Became, Memory
from inference_rollouts.rollout.versions import allow, read_memory, settle_version
from inference_rollouts.rollout.writer import Writer
from tests.support.claims import claim_on
from tests.support.fake_cluster import GATEWAY_API, FakeCluster
from tests.support.versions import version

ROUTE = Target(GATEWAY_API, "HTTPRoute", "routes-to-llm")
V1, V2 = version("v1"), version("v2")
ALLOWED = Allowed(by="kim", because="the node was broken", at=9.0)


def left_by(cluster: FakeCluster, name: str, ending: Ending = Ending.RESTORED, at: float = 1.0) -> None:
    """The route as a rollout let it go."""
    last = LastEnding(
        token="t",
        ending=ending,
        run="rollout_llm/r1",
        at=at,
        why="worse",
        plan="llm",
        version=str(version(name)),
    )
    cluster.put(GATEWAY_API, "HTTPRoute", _noted(cluster, last))


def _noted(cluster: FakeCluster, last: LastEnding) -> dict[str, object]:
    route = dict(cluster.route)
    meta = dict(route["metadata"]) | {"annotations": {ENDING: last.model_dump_json()}}
    return route | {"metadata": meta}


def settled(cluster: FakeCluster) -> Memory:
    settle_version(Writer(cluster), ROUTE)
    return read_memory(cluster, "llm")


def test_nothing_is_remembered_of_a_plan_that_never_ran() -> None:
    assert read_memory(FakeCluster(), "llm") == Memory()


def test_how_a_rollout_ended_is_remembered_once() -> None:
    cluster = FakeCluster()
    left_by(cluster, "v1")
    first = settled(cluster)
    assert [fate.became for fate in first.fates] == [Became.ROLLED_BACK]
    writes = len(cluster.writes)
    assert settled(cluster) == first
    assert len(cluster.writes) == writes


def test_what_is_yet_to_be_written_down_counts() -> None:
    cluster = FakeCluster()
    left_by(cluster, "v1")
    assert read_memory(cluster, "llm", [cluster.route]).refused(V1)
    assert not read_memory(cluster, "other", [cluster.route]).fates


def test_what_two_write_at_once_is_kept_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    left_by(cluster, "v1")
    settled(cluster)
    left_by(cluster, "v2", at=2.0)
    patch = cluster.patch

    def raced(*args: object) -> K8sObject:
        monkeypatch.setattr(cluster, "patch", patch)
        allow(cluster, "llm", Memory(), V1, ALLOWED)
        return patch(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster, "patch", raced)
    memory = settled(cluster)
    assert memory.refused(V2)
    assert not memory.refused(V1)


def test_a_memory_that_somebody_edited_is_refused_and_not_lost() -> None:
    cluster = FakeCluster()
    cluster.put(
        "v1", "ConfigMap", {"metadata": {"name": "inference-rollouts.llm"}, "data": {"memory": "{oops"}}
    )
    with pytest.raises(ClusterRefused, match="Correct its `memory`"):
        read_memory(cluster, "llm")
    left_by(cluster, "v1")
    settle_version(Writer(cluster), ROUTE)
    assert cluster.objects["ConfigMap", "inference-rollouts.llm"]["data"] == {"memory": "{oops"}


@pytest.mark.parametrize(
    ("leave_by", "alarm", "ending", "told"),
    [
        (None, False, Ending.RESTORED, True),
        (50.0, False, Ending.RESTORED, False),
        (50.0, True, Ending.RESTORED, True),
        (math.nextafter(100.0, 200.0), False, Ending.RESTORED, True),
        (50.0, False, Ending.PROMOTED, True),
    ],
)
def test_the_end_of_a_window_says_nothing_of_a_version(
    leave_by: float | None, alarm: bool, ending: Ending, told: bool
) -> None:
    claim = claim_on(FakeCluster().route).with_(version=str(V1), plan="llm", leave_by=leave_by, alarm=alarm)
    assert bool(ending_of(claim, ending, 100.0).version) is told


def test_nor_does_a_claim_that_another_object_refused() -> None:
    claim = claim_on(FakeCluster().route).with_(version=str(V1), plan="llm")
    assert not ending_of(claim, Ending.RESTORED, 100.0, untried=True).version


@pytest.mark.parametrize(
    ("ending", "became"), [(Ending.PROMOTED, [Became.ROLLED_BACK]), (Ending.RESTORED, [])]
)
def test_a_promotion_that_was_undone_is_a_version_that_was_rolled_back(
    ending: Ending, became: list[Became]
) -> None:
    """And one whose undoing was taken back stays promoted."""
    cluster = FakeCluster()
    claim = claim_on(cluster.route).with_(version=str(V1), plan="llm", undo=True)
    cluster.put(GATEWAY_API, "HTTPRoute", _noted(cluster, ending_of(claim, ending, 100.0)))
    assert [fate.became for fate in settled(cluster).fates] == became
