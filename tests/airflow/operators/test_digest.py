"""The morning report gathers how runs ended, of every plan, and says what still goes on."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.clients import Clients
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.reporting.digest import Ended
from inference_rollouts.digest_dag import build_digest_dag
from inference_rollouts.operators.base import ENDED
from inference_rollouts.operators.digest import ReportNight
from inference_rollouts.operators.starting import NOT_NOW
from tests.support.airflow import Told, use
from tests.support.calendars import NIGHTS
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.include import named_plans
from tests.support.receiver import receiving
from tests.support.steps import Step

NIGHTLY = {"cron": "0 22 * * *", "timezone": "Europe/Berlin"}


def run_id(ago: float) -> str:
    return f"scheduled__{datetime.fromtimestamp(time.time() - ago, UTC).isoformat()}"


def ended(outcome: str, ago: float, why: str = "so it is") -> dict[str, Any]:
    at = time.time() - ago
    told = Ended(stable="a", canary="b", version="", began=at - 60, ended=at, outcome=outcome, why=why)
    return told.to_json()


RUN = SimpleNamespace(dag_id="rollout_digest", run_id="of-today")
TASKS = {"rollout": ("report", ENDED), "start": ("rollout", NOT_NOW)}


class Night(Told):
    """What each DAG's runs left, by the run's id."""

    def __init__(self, **runs: dict[str, Any]) -> None:
        super().__init__()
        self.runs = {f"rollout_{plan}": told for plan, told in runs.items()}

    def get_task_states(self, *, dag_id: str, task_ids: list[str]) -> dict[str, Any]:  # type: ignore[override]
        assert task_ids == [TASKS[dag_id.partition("_")[0]][0]]
        return {run: {task_ids[0]: "failed"} for run in self.runs.get(dag_id, {})}

    def xcom_pull(self, *, dag_id: str, task_ids: str, key: str, run_id: str) -> Any:  # type: ignore[override]
        assert (task_ids, key) == TASKS[dag_id.partition("_")[0]]
        return self.runs[dag_id][run_id]


def report(night: Night, hours: float = 24, storage: str | None = None) -> str:
    params = {"hours": hours, "timezone": "UTC", "storage": storage}
    context: Any = {"ti": night, "params": params, "dag_run": RUN}
    ReportNight(task_id="report").execute(context)
    return str(night.pushed["report"])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    named_plans(
        tmp_path,
        monkeypatch,
        chat={"schedule": NIGHTLY, "windows": [NIGHTS]},
        code={},
        search={"after": ["code"]},
    )
    cluster = FakeCluster()
    use(fake_clients(cluster), monkeypatch)
    return cluster


def lines(text: str) -> dict[str, str]:
    return {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}


@pytest.mark.usefixtures("cluster")
def test_every_service_has_a_line_and_what_it_waits_for(tmp_path: Path) -> None:
    night = Night(
        chat={run_id(7200): ended("promoted", 3600), run_id(300_000): ended("rolled back", 200_000)},
        code={run_id(7200): ended("rolled back", 3000), run_id(100): None},
    )
    told = report(night, storage=f"file://{tmp_path}/digests")
    assert "promoted: so it is" in lines(told)["chat"]
    assert "rolled back: so it is" in lines(told)["code"]
    assert "not started: it comes after code, which ended rolled back" in lines(told)["search"]
    assert "1 promoted, 1 rolled back" in told.splitlines()[0]
    assert "- chat: starts " in told
    assert "22:00 Europe/Berlin" in told
    assert (tmp_path / "digests" / "digest.md").read_text() == told
    assert (tmp_path / "digests" / "digest.html").read_text() == night.pushed["html"]


def test_a_plan_whose_calendar_is_missing_takes_no_other_s_line_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_plans(tmp_path, monkeypatch, chat={"calendars": ["holidays"]}, code={})
    use(fake_clients(FakeCluster()), monkeypatch)
    told = report(Night(code={run_id(7200): ended("promoted", 3600)}))
    assert "promoted: so it is" in lines(told)["code"]
    assert "- chat: does not start: There is no calendar 'holidays'" in told


@pytest.mark.usefixtures("cluster")
def test_a_run_that_ended_before_the_night_is_not_in_it_and_one_that_began_before_is() -> None:
    night = Night(chat={run_id(3 * 86400): ended("promoted", 600), run_id(4 * 86400): ended("let go", 86400)})
    told = report(night, hours=12)
    assert "1 promoted" in told.splitlines()[0]
    assert "let go" not in told


def test_a_rollout_that_still_goes_on_is_told_with_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_plans(tmp_path, monkeypatch, llm={})
    step = Step()
    use(step.run.clients, monkeypatch)
    told = report(Night())
    assert "(step 1 of" in lines(told)["llm"]
    assert "1 still going on" in told.splitlines()[0]


def test_where_a_cluster_does_not_answer_nothing_is_said_to_be_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rollouts may go on; nor does it hold up the others: both of these wait for each other."""
    away = {"connections": {"kubernetes": "away"}}
    named_plans(tmp_path, monkeypatch, llm={}, chat=away, search=away | {"after": ["chat"]})
    both = threading.Barrier(2)

    def clients(plan: Any) -> Clients:
        both.wait(30)
        if plan.connections.kubernetes == "away":
            raise ClusterUnavailable("GET", "/apis", 0, "no route to host")
        return fake_clients(FakeCluster())

    monkeypatch.setattr("inference_rollouts.operators.digest.clients_of", clients)
    told = report(Night(chat={run_id(7200): ended("promoted", 3600)}))
    assert "no rollout" in lines(told)["llm"]
    assert "nobody knows whether a rollout goes on: " in lines(told)["chat"]
    assert "no route to host" in lines(told)["search"]
    assert "1 promoted, 2 that nobody sees" in told.splitlines()[0]


def test_one_that_was_not_started_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_plans(tmp_path, monkeypatch, chat={"airflow_pool": "rollouts"})
    use(fake_clients(FakeCluster()), monkeypatch)
    night = Night()
    night.runs["start_chat"] = {run_id(7200): "It was due at noon.", run_id(9000): "earlier"}
    assert "not started: It was due at noon." in lines(report(night))["chat"]


def test_whom_plans_name_for_it_gets_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here: dict[str, Any] = {"by": "webhook", "connection": "hooks"}
    away: dict[str, Any] = {"by": "webhook", "connection": "away", "of": ["digest"]}
    wanting = {"notifications": [away, here | {"of": ["digest", "alarm"]}]}
    named_plans(tmp_path, monkeypatch, chat=wanting, code=wanting, docs={"notifications": [here]})
    use(fake_clients(FakeCluster()), monkeypatch)
    with receiving() as receiver:
        monkeypatch.setenv(
            "AIRFLOW_CONN_HOOKS", json.dumps({"conn_type": "cloudevents", "host": receiver.url})
        )
        told = report(Night(chat={run_id(60): ended("promoted", 60, "<b>")}))
    [event] = receiver.events
    assert (event["id"], event["type"]) == ("rollout_digest/of-today/digest", "dev.inference-rollouts.digest")
    assert event["data"]["report"] == told
    assert "1 promoted" in event["data"]["headline"]
    assert event["data"]["link"].endswith("/rollout_digest/runs/of-today")


@pytest.mark.usefixtures("cluster")
def test_what_is_no_report_is_left_out() -> None:
    assert "no rollout" in lines(report(Night(chat={run_id(100): {"outcome": "?"}})))["chat"]


def test_the_dag_has_a_time_a_zone_and_waits_until_somebody_wants_it() -> None:
    dag = build_digest_dag("30 6 * * mon-fri Europe/Berlin")
    times: Any = dag.timetable
    assert times.expression == "30 6 * * mon-fri"
    assert dag.params["timezone"] == "Europe/Berlin"
    assert dag.is_paused_upon_creation
    with pytest.raises(ValueError, match="zone"):
        build_digest_dag("30 6 * * *")
