"""Status conditions: find one, set one without disturbing its transition time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lab.kube.clock import stamp
from lab.kube.objects import Obj

Condition = dict[str, Any]


def find(conditions: Sequence[Condition] | None, kind: str) -> Condition | None:
    """The condition of type `kind`, or None."""
    return next((condition for condition in conditions or [] if condition["type"] == kind), None)


def is_true(obj: Obj, kind: str) -> bool:
    """Whether the object's status has condition `kind` with status True."""
    condition = find(obj.get("status", {}).get("conditions"), kind)
    return condition is not None and condition["status"] == "True"


def condition(
    kind: str,
    status: bool | str,
    reason: str,
    message: str = "",
    generation: int | None = None,
) -> Condition:
    """A condition that has no transition time yet."""
    text = status if isinstance(status, str) else str(status)
    made: Condition = {"type": kind, "status": text, "reason": reason, "message": message}
    if generation is not None:
        made["observedGeneration"] = generation
    return made


def settle(
    before: Sequence[Condition] | None, after: Sequence[Condition], moment: datetime
) -> list[Condition]:
    """`after` with transition times: kept from `before` where the status is the same, else `moment`."""
    settled = []
    for new in after:
        old = find(before, new["type"])
        same = old is not None and old["status"] == new["status"]
        since = old["lastTransitionTime"] if old and same else stamp(moment)
        settled.append({**new, "lastTransitionTime": since})
    return settled
