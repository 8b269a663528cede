"""Requests that the gateway loses on purpose, as a broken network does: nobody takes their connections."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from lab.gateway.model import Target, World

LOSSES = "lab.inference-rollouts.dev/losses"
"""Annotation of a Gateway: what percentage of the requests for a pool is lost, as `pool=70,other=5`."""
NOBODY = 1  # a port on which no pod listens

log = logging.getLogger(__name__)


def losses(world: World) -> dict[str, int]:
    """Percent by pool, as the Gateways' annotations say; nonsense counts as nothing."""
    lost: dict[str, int] = {}
    for gateway in world.gateways.values():
        text = (gateway["metadata"].get("annotations") or {}).get(LOSSES, "")
        for each in filter(None, text.split(",")):
            if match := re.fullmatch(r"\s*([-a-z0-9]+)=(\d{1,2}|100)\s*", each):
                lost[match[1]] = int(match[2])
            else:
                log.warning("annotation %s: %r is not a pool and a percentage", LOSSES, each)
    return lost


def nowhere(target: Target) -> Target:
    """Where the lost requests of a target go: its pods, where nobody listens, counted as its own."""
    return replace(
        target, name=f"{target.name}_lost", stat_name=target.name, ports=(NOBODY,), picker=None, lost=0
    )
