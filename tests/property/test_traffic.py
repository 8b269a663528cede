"""Laws of moving traffic, whatever dies, whoever interferes, in whatever order tasks run."""

from __future__ import annotations

import os

from tests.support.traffic_machine import TrafficMachine, schedules

EXAMPLES = int(os.environ.get("TRAFFIC_EXAMPLES", "200"))

TestTraffic = TrafficMachine.TestCase
TestTraffic.settings = schedules(EXAMPLES)
