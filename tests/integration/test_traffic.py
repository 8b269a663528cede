"""Schedules of tasks and accidents break no law on an API server either."""

from __future__ import annotations

from hypothesis.stateful import run_state_machine_as_test

from inference_rollouts.clients.kubernetes import KubernetesCluster
from tests.support.lab.apiserver_process import ApiServer
from tests.support.route_objects import LiveObjects, Objects
from tests.support.traffic_machine import TrafficMachine, schedules

SCHEDULES = 30


def test_schedules_break_no_law_on_an_api_server(real: KubernetesCluster, server: ApiServer) -> None:
    begun: list[TrafficMachine] = []

    class LiveMachine(TrafficMachine):
        def no_objects(self) -> Objects:
            begun.append(self)
            objects = LiveObjects(real, server)
            for name in objects:
                objects.remove(name)
            return objects

    run_state_machine_as_test(LiveMachine, settings=schedules(SCHEDULES))
    assert len(begun) >= SCHEDULES
    told = {reason for machine in begun for reason in machine.world.events}
    assert told >= {"CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"}
