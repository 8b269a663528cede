"""Pods that wait for nodes say why, in the words of who knows most."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import NotReady, QuotaExceeded, StockOut
from inference_rollouts.core.nodes.placement import placement_readiness, unplaced
from inference_rollouts.core.nodes.provisioners import shortage
from inference_rollouts.core.objects.readiness import Phase

NO_ROOM = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
STOCKOUT = "Node scale up in zones us-central1-a associated with this pod failed: GCE stockout."


def pod(node: str | None = None, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **meta}, "spec": {"nodeName": node} if node else {}}


def event(reason: str, message: str, at: str = "2026-01-01T00:00:00Z", version: str = "1") -> dict[str, Any]:
    meta = {"resourceVersion": version}
    return {"metadata": meta, "reason": reason, "message": message, "lastTimestamp": at}


def test_placed_pods_are_ready_and_nobody_is_asked_why() -> None:
    answer = placement_readiness([pod("n1"), pod("n2")], 2, [event("FailedScaleUp", STOCKOUT)])
    assert (answer.phase, answer.message) == (Phase.READY, "2 of 2 pods have nodes")


def test_pods_that_are_yet_to_be_made_are_waited_for() -> None:
    assert placement_readiness([pod("n1")], 2, []).phase is Phase.WAITING
    assert placement_readiness([], 2, []).phase is Phase.WAITING


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([event("FailedScheduling", NO_ROOM)], "FailedScheduling: 0/3 nodes"),
        (
            [event("TriggeredScaleUp", "a 0->1"), event("FailedScheduling", NO_ROOM, "2027")],
            "TriggeredScaleUp",
        ),
        (
            [event("TriggeredScaleUp", "a"), event("FailedScaleUp", STOCKOUT, "2027")],
            "FailedScaleUp: Node scale",
        ),
        (
            [event("FailedScaleUp", "b", version="9"), event("NotTriggerScaleUp", "a", version="10")],
            "NotTrigger",
        ),
        ([event("Pulled", "an image")], "0 of 2 pods have nodes"),
        ([event("FailedScaleUp", "b", version="x9"), event("Pulled", "a", version="")], "FailedScaleUp: b"),
    ],
)
def test_the_autoscaler_is_heard_before_the_scheduler_and_its_last_word_counts(
    events: list[Any], words: str
) -> None:
    answer = placement_readiness([pod(), pod()], 2, events)
    assert answer.phase is Phase.WAITING
    assert words in answer.message
    assert "Pulled" not in answer.message


def test_pods_on_their_way_out_need_no_node() -> None:
    assert unplaced([pod(), pod("n1"), pod(deletionTimestamp="now")]) == [pod()]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (STOCKOUT, StockOut),
        ("node pool p: GCE_STOCKOUT: none", StockOut),
        ("ZONE_RESOURCE_POOL_EXHAUSTED: none", StockOut),
        ("failed: GCE quota exceeded.", QuotaExceeded),
        ("GCE_QUOTA_EXCEEDED", QuotaExceeded),
        ("The zone 'us-a' does not have enough resources available to fulfill the request.", StockOut),
        ("Reservation r1 does not have enough capacity left: GCE_RESERVATION", StockOut),
        ("resources are currently unavailable in the requested zone", StockOut),
        ("GCE out of resources", StockOut),
        ('There is no more capacity in the zone "us-c"; you can try in another zone.', StockOut),
        (NO_ROOM, NotReady),
    ],
)
def test_a_shortage_is_told_by_its_codes(message: Any, error: type[Exception]) -> None:
    assert shortage(message) is error
