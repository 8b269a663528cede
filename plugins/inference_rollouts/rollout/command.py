"""The one entrance for commands, whoever writes them: a terminal, a task, a page."""

from __future__ import annotations

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.routing.claim import What
from inference_rollouts.rollout.control import control_of
from inference_rollouts.rollout.undo import undo


def command(cluster: Cluster, name: str, what: str, who: str, why: str, mark: str = "") -> str:
    """Command the rollout of a plan, or of an object; what happens to the traffic now, in sentences.

    Given again with the same `mark` it is the same command, but for an undo. Raises NotFound, CommandRefused,
    ClaimLost, and of an undo RouteDrift.
    """
    if what == What.UNDO:
        return undo(cluster, name, who, why)
    return control_of(cluster, name).give(what, who, why, mark)
