"""How a Deployment's ReplicaSets change size, and what its status says on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.controllers.rollout import deployment_status, next_sizes, share, surge_and_unavailable
from lab.kube.conditions import find

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def deployment(
    replicas: int = 4, surge: Any = "25%", unavailable: Any = "25%", **spec: Any
) -> dict[str, Any]:
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return {
        "metadata": {"name": "d", "generation": 7},
        "spec": {"replicas": replicas, "strategy": strategy, **spec},
    }


def replica_set(name: str, size: int, available: int | None = None) -> dict[str, Any]:
    up = size if available is None else available
    return {
        "metadata": {"name": name, "creationTimestamp": f"2030-01-01T00:00:0{name[-1]}Z"},
        "spec": {"replicas": size},
        "status": {"replicas": size, "readyReplicas": up, "availableReplicas": up},
    }


def roll(target: dict[str, Any], new: dict[str, Any], old: list[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Apply decisions until there are none; pods become available one at a time."""
    yield totals([new, *old])
    for _ in range(200):
        sizes = next_sizes(target, new, old, sum(each["status"]["replicas"] for each in old))
        sets = [new, *old]
        for each in sets:
            size = sizes.get(each["metadata"]["name"], each["spec"]["replicas"])
            available = min(each["status"]["availableReplicas"], size)
            each.update(replica_set(each["metadata"]["name"], size, available))
        yield totals(sets)
        waiting = next((e for e in sets if e["status"]["availableReplicas"] < e["spec"]["replicas"]), None)
        if waiting:
            waiting["status"]["availableReplicas"] += 1
        elif not sizes:
            return
    raise AssertionError("the rollout does not end")


def totals(sets: list[dict[str, Any]]) -> tuple[int, int]:
    pods = sum(each["spec"]["replicas"] for each in sets)
    return pods, sum(each["status"]["availableReplicas"] for each in sets)


@pytest.mark.parametrize(
    ("value", "replicas", "up", "expected"),
    [("25%", 3, True, 1), ("25%", 3, False, 0), (2, 3, True, 2), ("100%", 3, False, 3), ("0%", 9, True, 0)],
)
def test_int_or_percent(value: Any, replicas: int, up: bool, expected: int) -> None:
    assert share(value, replicas, up) == expected


def test_a_rollout_can_always_move() -> None:
    assert surge_and_unavailable(deployment(1, surge=0, unavailable="25%")) == (0, 1)


@pytest.mark.parametrize(
    ("surge", "unavailable"), [(1, 0), (0, 1), ("25%", "25%"), ("100%", 0), (2, 3), (0, 0)]
)
@pytest.mark.parametrize("replicas", [1, 3, 10])
def test_a_rolling_update_keeps_within_its_limits(surge: Any, unavailable: Any, replicas: int) -> None:
    target = deployment(replicas, surge, unavailable)
    new, old = replica_set("new2", 0), [replica_set("old0", replicas), replica_set("old1", 0)]
    most, least = surge_and_unavailable(target)
    for pods, available in roll(target, new, old):
        assert pods <= replicas + most
        assert available >= replicas - least
    assert new["spec"]["replicas"] == replicas
    assert all(each["spec"]["replicas"] == 0 for each in old)


def test_pods_that_never_worked_go_first() -> None:
    target = deployment(3, surge=1, unavailable=0)
    new, broken, good = replica_set("new2", 1, 0), replica_set("old1", 1, 0), replica_set("old0", 3)
    assert next_sizes(target, new, [broken, good], 4) == {"old1": 0}


def test_a_broken_update_keeps_the_old_pods() -> None:
    target = deployment(3, surge=1, unavailable=0)
    assert next_sizes(target, replica_set("new1", 1, 0), [replica_set("old0", 3)], 3) == {}


def test_recreate_waits_for_the_last_old_pod() -> None:
    target = deployment(2, strategy={"type": "Recreate"})
    new, old = replica_set("new1", 0), replica_set("old0", 2)
    assert next_sizes(target, new, [old], 2) == {"old0": 0}
    gone = replica_set("old0", 0)
    assert next_sizes(target, new, [gone], 1) == {}
    assert next_sizes(target, new, [gone], 0) == {"new1": 2}


def test_paused_deployments_scale_but_do_not_roll() -> None:
    target = deployment(5, paused=True)
    assert next_sizes(target, None, [replica_set("old0", 3)], 3) == {"old0": 5}
    assert next_sizes(target, replica_set("new1", 1), [replica_set("old0", 3)], 3) == {}


def status_after(target: dict[str, Any], new: dict[str, Any], moment: datetime) -> dict[str, Any]:
    target["status"] = deployment_status(target, new, [], moment)
    return {c["type"]: (c["status"], c["reason"]) for c in target["status"]["conditions"]}


def test_conditions_tell_the_story_of_a_rollout() -> None:
    target = deployment(2, progressDeadlineSeconds=30)
    new = replica_set("new0", 2, 0)
    first = status_after(target, new, NOON)
    assert first["Available"] == ("False", "MinimumReplicasUnavailable")
    assert first["Progressing"] == ("True", "NewReplicaSetCreated")
    stuck = status_after(target, new, NOON + timedelta(seconds=31))
    assert stuck["Progressing"] == ("False", "ProgressDeadlineExceeded")
    new = replica_set("new0", 2, 1)
    moving = status_after(target, new, NOON + timedelta(seconds=40))
    assert moving["Progressing"] == ("True", "ReplicaSetUpdated")
    done = status_after(target, replica_set("new0", 2), NOON + timedelta(seconds=41))
    assert done["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert done["Available"] == ("True", "MinimumReplicasAvailable")
    lost = status_after(target, replica_set("new0", 2, 0), NOON + timedelta(days=1))
    assert lost["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert target["status"]["observedGeneration"] == 7


def test_a_new_template_starts_a_new_deadline() -> None:
    target = deployment(2, progressDeadlineSeconds=30)
    status_after(target, replica_set("new0", 2, 0), NOON)
    late = NOON + timedelta(seconds=31)
    assert status_after(target, replica_set("new0", 2, 0), late)["Progressing"][0] == "False"
    assert status_after(target, replica_set("new1", 2, 0), late)["Progressing"][0] == "True"


def test_transition_times_move_with_the_status_only() -> None:
    target = deployment(2)
    status_after(target, replica_set("new0", 2, 0), NOON)
    before = find(target["status"]["conditions"], "Available")
    status_after(target, replica_set("new0", 2, 0), NOON + timedelta(seconds=9))
    assert find(target["status"]["conditions"], "Available") == before
    status_after(target, replica_set("new0", 2, 2), NOON + timedelta(seconds=9))
    after = find(target["status"]["conditions"], "Available")
    assert after is not None
    assert after["lastTransitionTime"] == "2030-01-01T12:00:09Z"
