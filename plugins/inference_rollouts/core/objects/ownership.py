"""Whose an object is: the labels on everything that rollouts create."""

from __future__ import annotations

import hashlib

from inference_rollouts.core.objects.k8s import K8sObject, labels_of

OWNER = "inference-rollouts"
"""The value of OWNER_LABEL, and the field manager of all our writes."""
OWNER_LABEL = "app.kubernetes.io/managed-by"
PLAN_LABEL = "inference-rollouts.dev/plan"
POOL_LABEL = "inference-rollouts.dev/pool"
RUN_LABEL = "inference-rollouts.dev/run"


def owner_labels(plan: str, pool: str | None = None) -> dict[str, str]:
    """The labels of what rollouts of a plan create, for a pool if one is given."""
    return {OWNER_LABEL: OWNER, PLAN_LABEL: plan} | ({POOL_LABEL: pool} if pool else {})


def is_ours(obj: K8sObject, plan: str) -> bool:
    """Whether a live object carries the labels that this plan's rollouts put on what they create."""
    return owner_labels(plan).items() <= labels_of(obj).items()


def run_label(run: str) -> str:
    """A run's identity as a label value: of any characters and length, it must be a digest."""
    return hashlib.sha256(run.encode()).hexdigest()[:32]
