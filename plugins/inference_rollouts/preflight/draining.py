"""Whether the canary's pods have the time to drain that their own servers want."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.serving.draining import cut_short

log = logging.getLogger(__name__)


def warn_of_cuts(manifests: Sequence[K8sObject]) -> None:
    """Say of each workload whose pods would be killed while they drain."""
    for sentence in cut_short(manifests):
        log.warning("%s", sentence)
