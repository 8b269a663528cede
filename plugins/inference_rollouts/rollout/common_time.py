"""What time it is by the clock that all who work on a cluster have in common: its API server's."""

from __future__ import annotations

import logging

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.objects.api_groups import LEASE_API

log = logging.getLogger(__name__)


def time_of(cluster: Cluster) -> float:
    """So many Unix seconds, by an answer of now; by our own clock where none has come yet.

    It is asked for what everybody may read: which kinds there are.
    """
    try:
        cluster.serves(LEASE_API, "Lease")
    except Exception as error:
        log.warning("what time it is by the API server's clock is not known: %s", error)
    return cluster.time()
