"""Crashes of a pool, all together."""

from typing import Any

import pytest

from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.run.memory import Memory

BEGAN = 1000.0


def pod(uid: str, restarts: int = 0, *, leaving: bool = False, phase: str = "Running") -> dict[str, Any]:
    state = {"terminated": {"finishedAt": "1970-01-01T01:00:00Z"}} if restarts else {}
    return {
        "metadata": {"uid": uid} | ({"deletionTimestamp": "1970-01-01T01:00:00Z"} if leaving else {}),
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": "server", "restartCount": restarts, "lastState": state}],
        },
    }


def counted(*looks: list[dict[str, Any]]) -> int:
    crashes = Crashes(BEGAN)
    for look in looks:
        crashes = crashes.observed(look)
    return crashes.count


ALL = [pod("a"), pod("b")]


@pytest.mark.parametrize(
    ("looks", "count"),
    [
        ([ALL, [pod("a", 1), pod("b")], [pod("a", 3), pod("b")]], 3),
        ([ALL, [pod("a", 1), pod("b")], [pod("a", 1), pod("b", 1)]], 2),
        ([ALL, [pod("b"), pod("c")], [pod("c"), pod("d")]], 2),
        ([ALL, [pod("a", phase="Failed"), pod("b"), pod("c")]], 1),
        ([ALL, [pod("a", leaving=True), pod("b"), pod("c")], [pod("b"), pod("c")]], 0),
        ([ALL, [*ALL, pod("c")]], 0),
        ([ALL, [pod("a")]], 0),
        ([[], ALL], 0),
        ([ALL, (newer := [pod("a", 1), pod("b"), pod("c")]), ALL, newer], 1),
        ([ALL, [pod("a", phase="Failed"), pod("b"), pod("c")], ALL, [pod("b"), pod("c"), pod("d")]], 1),
    ],
    ids=[
        *("one pod", "in turn", "new pods", "failed", "deleted", "scaled up", "scaled down", "first"),
        *("seen late", "seen to fail late"),
    ],
)
def test_crashes_count_over_the_pool(looks: list[list[dict[str, Any]]], count: int) -> None:
    assert counted(*looks) == count


def test_what_was_before_does_not_count() -> None:
    old = pod("a", 5)
    old["status"]["containerStatuses"][0]["lastState"] = {
        "terminated": {"finishedAt": "1970-01-01T00:00:09Z"}
    }
    assert counted([old]) == 0
    assert counted([old], [pod("a", 6)]) == 1
    assert counted([pod("a", 2)]) == 2


def test_a_run_that_began_before_and_ended_since_is_one_crash_whatever_was_before() -> None:
    """To somebody who takes over, or looks each time for the first time."""
    old = pod("a", 5)
    last = old["status"]["containerStatuses"][0]["lastState"]["terminated"]
    last["startedAt"] = "1970-01-01T00:00:09Z"
    assert counted([old]) == 1
    assert counted([old], [pod("a", 6)]) == 2
    last["startedAt"] = "1970-01-01T00:50:00Z"
    assert counted([old]) == 5


def whole(restarts: int, preparing: int = 0) -> dict[str, Any]:
    """A pod with a server, a proxy that stays beside it, one for logs, and one that prepares it."""
    made = pod("a", restarts)
    made["spec"] = {"initContainers": [{"name": "download"}, {"name": "proxy", "restartPolicy": "Always"}]}
    server = made["status"]["containerStatuses"][0]
    made["status"]["containerStatuses"].append(server | {"name": "logs"})
    ended = {"terminated": {"finishedAt": "1970-01-01T01:00:00Z"}} if preparing else {}
    prepared = {"name": "download", "restartCount": preparing, "lastState": ended}
    made["status"]["initContainerStatuses"] = [prepared, server | {"name": "proxy"}]
    return made


def test_a_node_that_starts_anew_is_one_crash_of_a_pod_however_many_containers_it_has() -> None:
    assert counted([whole(0)], [whole(1, 1)]) == 1
    assert counted([whole(1, 1)]) == 1
    late = whole(1)
    late["status"]["containerStatuses"][0]["restartCount"] = 0
    assert counted([whole(0)], [late], [whole(1)], [whole(2)]) == 2


def test_what_prepares_a_pod_and_is_tried_again_is_no_crash_of_one_that_serves() -> None:
    assert counted([pod("b")], [pod("b"), whole(0, 3)]) == 0


def test_who_goes_on_after_another_counts_on_from_what_it_left() -> None:
    seen = Crashes(BEGAN).observed([whole(0)]).observed([whole(2)])
    again = Memory.of(seen, (), ()).crashes.observed([whole(2)]).observed([whole(3)])
    assert (seen.count, again.count) == (2, 3)
