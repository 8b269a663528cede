"""The switch that stops all rollouts of a namespace: a Lease, held by whoever threw it, until it ends.

It is a standing order: whoever watches a rollout turns it into a command on the claim, and takes that back
when the switch is off. No raise begins while it is on, whether anybody watches or not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.errors import CommandRefused
from inference_rollouts.core.limits import LONGEST_HOLD
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, moment, part
from inference_rollouts.core.routing.claim import LONGEST_WHO, LONGEST_WHY

SWITCH = "inference-rollouts-switch"
"""The name of the Lease. It has no label of the leases of rollouts, which guardians tidy up."""
MODE = "inference-rollouts.dev/mode"
WHY = "inference-rollouts.dev/why"


class Mode(StrEnum):
    """What the switch does to rollouts while it is on."""

    HOLD = "hold"
    """All are paused."""
    BACK = "back"
    """All go back."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Who stopped everything, how, why, since when and until when (times of the API server's clock).

    `version` is the Lease's resourceVersion.
    """

    mode: Mode
    owner: str
    why: str
    since: float
    until: float
    version: str

    def is_on(self, now: float) -> bool:
        """Whether it holds at `now`."""
        return bool(self.owner) and now < self.until

    def __str__(self) -> str:
        how = "held" if self.mode is Mode.HOLD else "sent back"
        ends = "" if math.isinf(self.until) else f" until {datetime.fromtimestamp(self.until, UTC):%F %T} UTC"
        return f"All rollouts are {how}{ends} by {self.owner}: {self.why.rstrip('.')}"


def switch_of(lease: K8sObject | None) -> Switch | None:
    """What the Lease says; None where there is none. What nobody can read is a switch that is on for ever."""
    if lease is None:
        return None
    spec, notes = part(lease, "spec"), annotations_of(lease)
    since, seconds, mode = moment(spec.get("acquireTime")), spec.get("leaseDurationSeconds"), notes.get(MODE)
    version = str(lease["metadata"].get("resourceVersion", ""))
    if since is None or not isinstance(seconds, int) or mode not in set(Mode):
        why = f"the Lease {SWITCH} cannot be read; delete it"
        return Switch(Mode.HOLD, "somebody", why, since or 0.0, math.inf, version)
    owner = str(spec.get("holderIdentity") or "")
    return Switch(Mode(mode), owner, notes.get(WHY, ""), since, since + seconds, version)


def require_throwable(
    before: Switch | None, mode: str, who: str, why: str, seconds: float, now: float
) -> Mode:
    """The mode, if it may be thrown for so long at `now`. Raises CommandRefused."""
    if mode not in set(Mode):
        raise CommandRefused(f"Rollouts are stopped by {' or '.join(Mode)}, not {mode}. Nothing was changed.")
    if not (0 < len(who) <= LONGEST_WHO and why.strip() and len(why) <= LONGEST_WHY):
        raise CommandRefused(
            f"Whoever stops all rollouts says who they are, and why in at most {LONGEST_WHY} characters. "
            "Nothing was changed."
        )
    if not 1 <= seconds <= LONGEST_HOLD.total_seconds():
        raise CommandRefused(
            f"Rollouts are stopped for a second at least and {format_duration(LONGEST_HOLD.total_seconds())} "
            "at most. Nothing was changed."
        )
    if before and before.is_on(now) and before.mode is Mode.BACK and mode == Mode.HOLD:
        raise CommandRefused(f"{before}. Holding them would be less than that; nothing was changed.")
    return Mode(mode)


def thrown_lease(mode: Mode, owner: str, why: str, now: float, seconds: float) -> dict[str, Any]:
    """The Lease of a switch that is on from `now` for so long; for a server-side apply."""
    time = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {
        "apiVersion": LEASE_API,
        "kind": "Lease",
        "metadata": {"name": SWITCH, "annotations": {MODE: mode.value, WHY: why}},
        "spec": {
            "holderIdentity": owner,
            "leaseDurationSeconds": math.ceil(seconds),
            "acquireTime": time,
            "renewTime": time,
        },
    }


def put_back_patch(lease: K8sObject) -> list[dict[str, Any]]:
    """Nobody holds the switch any more, unless somebody has thrown it anew since it was read."""
    version = lease["metadata"]["resourceVersion"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/annotations", "value": {MODE: Mode.HOLD.value}},
        {"op": "add", "path": "/spec", "value": {"leaseDurationSeconds": 1, "acquireTime": _NEVER}},
    ]


_NEVER = "1970-01-01T00:00:00.000000Z"
