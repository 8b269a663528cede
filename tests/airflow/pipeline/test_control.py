"""All rollouts are stopped from Airflow, each cluster and namespace for itself."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.control_dag import build_control_dag
from inference_rollouts.rollout.switch import read_switch
from tests.support.airflow import run_dag
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import llm_plan

pytestmark = pytest.mark.usefixtures("database")


def test_each_is_led_to_by_its_own_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once: Airflow answers each of them."""
    clusters = {f"{name}.example": FakeCluster() for name in ("one", "two", "three")}
    plans = []
    for host in clusters:
        name = host.partition(".")[0]
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", f'{{"conn_type": "kubernetes", "host": "{host}"}}')
        plans.append(llm_plan(name=name, connections={"kubernetes": name}))

    def leading(connections: Any, namespace: str) -> Any:
        host = BaseHook.get_connection(connections.kubernetes).host
        return fake_clients(clusters[str(host)])

    monkeypatch.setattr("inference_rollouts.operators.control.clients_at", leading)
    given = {"rollout": "everything", "command": "stop", "reason": "the pager", "lasts": "1h"}
    assert run_dag(build_control_dag(plans), given).state == "success"
    assert all(read_switch(cluster) for cluster in clusters.values())
