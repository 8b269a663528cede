"""The tasks of a retirement, each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from inference_rollouts.core.errors import RetirementRefused
from inference_rollouts.core.limits import RETIREMENT_WAIT
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.operators.assets import promoted
from inference_rollouts.operators.retire import CheckRetirement, Retire
from tests.support.airflow import use
from tests.support.claims import claim_on
from tests.support.fake_cluster import GATEWAY_API, FakeCluster
from tests.support.left_behind import NEW, OLD, Stage
from tests.support.plans import llm
from tests.support.routes import ref, route

CLAIMED = {CLAIM: claim_on(route([ref(OLD, 1)]), stable=OLD, canary=NEW).to_json()}
PLAN = llm(retention={"keep": 0})


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    use(stage.clients, monkeypatch)
    return stage


def context(running: Iterable[int] = (), announced: list[dict[str, Any]] | None = None) -> Any:
    """What a task sees: how many rollouts are under way, each time it asks, and what was announced."""
    counts = iter(running)
    ti = SimpleNamespace(get_dr_count=lambda **_: next(counts, 0))
    events = [SimpleNamespace(extra=extra) for extra in announced or ()]
    return {"ti": ti, "inlet_events": {promoted("llm"): events}}


def check(pool: str, since: float | None) -> CheckRetirement:
    case = {"name": pool, "action": "remove", "since": since}
    return CheckRetirement(task_id="check", plan=PLAN, case=case, inlets=[promoted("llm")])


@pytest.mark.parametrize(
    ("pool", "prepare"),
    [
        ("llm-pool", lambda cluster: None),  # no rollout created it
        ("nothing", lambda cluster: None),
        (OLD, lambda cluster: cluster.put(GATEWAY_API, "HTTPRoute", route([ref(OLD, 1), ref(NEW, 99)]))),
        (
            OLD,
            lambda cluster: cluster.put(
                GATEWAY_API,
                "HTTPRoute",
                route([ref(OLD, 0), ref(NEW, 100)], annotations=CLAIMED),
            ),
        ),
        (OLD, lambda cluster: cluster.put(GATEWAY_API, "HTTPRoute", route([ref(NEW)], [ref(OLD, 0)]))),
    ],
)
@pytest.mark.parametrize(("since", "error"), [(None, RetirementRefused), (1.0, AirflowSkipException)])
def test_what_may_not_go_is_refused_to_people_and_skipped_otherwise(
    stage: Stage,
    pool: str,
    prepare: Callable[[FakeCluster], None],
    since: float | None,
    error: type[Exception],
) -> None:
    prepare(stage.cluster)
    with pytest.raises(error):
        check(pool, since).execute(context())
    assert stage.cluster.writes == []


def test_while_a_rollout_is_under_way_nothing_is_taken_away(stage: Stage) -> None:
    """Task check waits for its end; task retire stops when one has begun."""
    running = iter([1, 1, 0, 1])
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            check(OLD, None).execute(context(running))
    retirement = check(OLD, None).execute(context(running))
    with pytest.raises(RetirementRefused, match="is under way: nothing more"):
        Retire(task_id="retire", retirement=retirement).execute(context(running))
    assert stage.cluster.writes == []


def test_what_does_not_end_is_waited_for_within_limits(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that its node does not let go: the time that the task began counts, over all its looks."""
    clock = [1000.0]
    monkeypatch.setattr("inference_rollouts.operators.retire.time", SimpleNamespace(time=lambda: clock[0]))
    retirement = check(OLD, None).execute(context())
    task = Retire(task_id="retire", retirement=retirement)
    stuck = stage.cluster.objects["Pod", f"{OLD}-0"]
    monkeypatch.setattr(
        stage.cluster, "select", lambda api, kind, labels=None: [stuck] if kind == "Pod" else []
    )
    with pytest.raises(TaskDeferred) as begun:
        task.execute(context())
    clock[0] += RETIREMENT_WAIT.total_seconds() - 1.0
    with pytest.raises(TaskDeferred) as waiting:
        task.again(context(), None, **begun.value.kwargs or {})
    clock[0] += 2.0
    with pytest.raises(RetirementRefused, match=r"still end: .*-0; that is waited for no longer"):
        task.again(context(), None, **waiting.value.kwargs or {})


@pytest.mark.parametrize(
    ("announced", "skipped"),
    [([], False), ([{"name": OLD, "since": 9e9}], True), ([{"name": NEW, "since": 9e9}], False)],
)
def test_what_a_later_rollout_left_again_is_its_own_retirement(
    stage: Stage, announced: list[dict[str, Any]], skipped: bool
) -> None:
    task = check(OLD, 1.0)
    if skipped:
        with pytest.raises(AirflowSkipException, match="A later rollout left"):
            task.execute(context(announced=announced))
    else:
        assert task.execute(context(announced=announced))["name"] == OLD
