"""What preflight decides before it freezes anything: whether the run is to begin, and when it may move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import DownstreamTasksSkipped

from inference_rollouts.core.errors import PrometheusBusy, WindowClosed
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.base import PLACE, PREFLIGHT, SUMMARY, TOKEN
from inference_rollouts.operators.preflight import Preflight
from tests.support.airflow import Told, context_of, use
from tests.support.calendars import blackout
from tests.support.plans import CANARY, STABLE, llm, llm_plan
from tests.support.routes import ref
from tests.support.steps import Step

NIGHTLY = {"cron": "0 22 * * *", "timezone": "Europe/Berlin"}
FOR_YEARS = [blackout("2020-01-01", "2999-01-01")]


class Run:
    """A run on a cluster in memory, due `ago`; `earlier` is a try of it that has traffic already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, earlier: bool = False) -> None:
        self.step = Step()
        self.cluster, self.told = self.step.cluster, Told()
        use(self.step.run.clients, monkeypatch)
        if earlier:
            place = {"kubernetes": "kubernetes_default", "namespace": "default"}
            self.told.tasks = {"deploy_pool": {TOKEN: self.step.run.frozen.token, PLACE: place}}
        else:
            self.step.run.traffic.way_back.restore("another run", 1000.0)
            self.forget_canary()
        self.writes = len(self.cluster.writes)

    def forget_canary(self) -> None:
        for key in [key for key in self.cluster.objects if key[1].startswith(CANARY)]:
            del self.cluster.objects[key]

    def preflight(
        self, ago: timedelta = timedelta(), kind: str = "scheduled", params: Any = None, **plan: Any
    ) -> Frozen:
        dag = build_dag(llm_plan(initial_delay=0, **plan))
        due = SimpleNamespace(
            dag_id=dag.dag_id, run_id="r1", run_type=kind, run_after=datetime.now(UTC) - ago
        )
        task = Preflight(task_id=PREFLIGHT, plan=llm(initial_delay=0, **plan))
        context = context_of(self.told, dag, params=params or {}) | {"dag_run": due}
        return Frozen.from_json(task.execute(context))

    def ends(self, **given: Any) -> str:
        """What is reported of a run that ends here: nothing but the report follows."""
        with pytest.raises(DownstreamTasksSkipped) as end:
            self.preflight(**given)
        tasks = {task.task_id for task in build_dag(llm_plan()).tasks}
        assert set(end.value.tasks) == tasks - {"begin", PREFLIGHT, "report"}
        return str(self.told.pushed[SUMMARY])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(monkeypatch)


@pytest.mark.parametrize("kind", ["scheduled", "backfill"])
def test_a_run_that_comes_too_late_ends_and_has_written_nothing(run: Run, kind: str) -> None:
    report = run.ends(ago=timedelta(hours=2), kind=kind, schedule=NIGHTLY)
    assert "not started" in report
    assert "and may start at most 1h late" in report
    assert len(run.cluster.writes) == run.writes


@pytest.mark.parametrize(
    ("ago", "kind"), [(timedelta(minutes=59), "scheduled"), (timedelta(days=2), "manual")]
)
def test_one_in_time_goes_on_and_so_does_one_that_a_person_started(
    run: Run, ago: timedelta, kind: str
) -> None:
    assert run.preflight(ago, kind, schedule=NIGHTLY).plan.canary == CANARY


def test_a_late_run_that_was_cleared_first_brings_back_what_its_earlier_try_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch, earlier=True)
    assert run.cluster.weights() == {STABLE: 50, CANARY: 50}
    run.ends(ago=timedelta(days=1), schedule=NIGHTLY)
    assert run.cluster.weights() == {STABLE: 1}


def test_where_the_canary_has_all_traffic_the_run_ends_and_says_so(run: Run) -> None:
    run.cluster.route["spec"]["rules"][0]["backendRefs"] = [ref(STABLE, 0), ref(CANARY, 100)]
    assert "there is nothing new" in run.ends(stable="current")
    assert len(run.cluster.writes) == run.writes


def test_a_metrics_store_that_is_busy_is_asked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store = run.step.prometheus
    query, refusals = store.query, iter([PrometheusBusy("429", 0.1), PrometheusBusy("503")])

    def busy(promql: str, at: float) -> list[dict[str, Any]]:
        if refusal := next(refusals, None):
            raise refusal
        return query(promql, at)

    monkeypatch.setattr(store, "query", busy)
    assert run.preflight().plan.canary == CANARY


def test_what_serves_today_is_frozen_by_its_name(run: Run) -> None:
    assert run.preflight(stable="current").plan.stable == STABLE


def test_windows_are_frozen_and_the_next_openings_shown(run: Run) -> None:
    frozen = run.preflight(windows=[{"from": "00:00", "to": "24:00", "timezone": "UTC", "days": ["mon"]}])
    assert [str(window) for window in frozen.calendar.windows] == ["00:00-24:00 UTC (mon)"]
    assert len(run.told.pushed["openings"]) == 5


def test_a_run_that_can_never_move_is_refused_unless_a_person_says_why_it_may(run: Run) -> None:
    with pytest.raises(WindowClosed):
        run.preflight(blackouts=FOR_YEARS)
    assert len(run.cluster.writes) == run.writes
    frozen = run.preflight(blackouts=FOR_YEARS, params={"override_windows": "an incident"})
    assert frozen.calendar.override == "an incident"
