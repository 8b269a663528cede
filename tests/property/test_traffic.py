"""Laws of moving traffic, whatever dies, whoever interferes, in whatever order tasks run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from tests.support.traffic_machine import TrafficMachine

EXAMPLES = int(os.environ.get("TRAFFIC_EXAMPLES", "200"))

TestTraffic = TrafficMachine.TestCase
TestTraffic.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
