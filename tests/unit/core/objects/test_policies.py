"""A policy is waited for while it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase, policy_readiness

KINDS = ["HealthCheckPolicy", "GCPBackendPolicy"]


@pytest.mark.parametrize(
    ("conditions", "phase"),
    [
        ([], Phase.READY),
        ([{"type": "Attached", "status": "True", "reason": "Attached"}], Phase.READY),
        ([{"type": "Attached", "status": "False", "reason": "Conflict", "message": "two"}], Phase.WAITING),
        ([{"type": "Other", "status": "False"}], Phase.READY),
    ],
)
def test_a_policy_is_waited_for_while_it_is_refused(conditions: list[Any], phase: Phase) -> None:
    policy = {"kind": KINDS[0], "metadata": {"name": "x"}, "status": {"conditions": conditions}}
    assert policy_readiness(policy).phase is phase
