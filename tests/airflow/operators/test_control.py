"""Commands by a DAG: the form takes any words, the task says what is wrong with them and what happens."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from inference_rollouts.control_dag import build_control_dag
from inference_rollouts.core.errors import ClusterUnavailable, CommandRefused, NotFound, PassingError
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.rollout.claims import claimed_objects, way_back_of
from inference_rollouts.triggers.guard import GuardTrigger
from tests.support.airflow import Told, use
from tests.support.plans import CANARY, STABLE, food_review_plan, llm_plan
from tests.support.steps import Step

DAG = build_control_dag([llm_plan(), food_review_plan()])


class Kept(dict[str, str]):
    """What a task keeps over its tries."""

    def set(self, key: str, value: str, *, retention: object) -> None:
        self[key] = value


class Commander:
    """Anna triggers the DAG, about a rollout whose own DAG may be `paused`."""

    def __init__(self, step: Step) -> None:
        self.step, self.paused, self.told, self.runs = step, False, Told(), 0
        self.context: dict[str, Any] = {}

    def give(self, what: str, rollout: str = "llm", reason: str = "the pager", lasts: str = "4h") -> str:
        self.told = Told()
        self.told.get_dag = lambda dag: SimpleNamespace(is_paused=self.paused)  # type: ignore[attr-defined]
        params = {"rollout": rollout, "command": what, "reason": reason, "lasts": lasts}
        self.runs += 1
        run = SimpleNamespace(
            triggering_user_name="anna", run_type="manual", dag_id="rollout_control", run_id=str(self.runs)
        )
        self.context = {"ti": self.told, "params": params, "dag_run": run, "task_state_store": Kept()}
        task: Any = DAG.task_dict["control"]
        task.execute(self.context)
        return str(self.told.pushed["report"])

    @property
    def phase(self) -> str:
        [claim] = self.step.run.traffic.claims()
        return claim.phase.value


@pytest.fixture
def anna(monkeypatch: pytest.MonkeyPatch) -> Commander:
    step = Step(time.time())
    use(step.run.clients, monkeypatch)
    return Commander(step)


def test_who_triggers_commands_and_the_note_says_what_happens(anna: Commander) -> None:
    note = anna.give("pause")
    assert note.startswith("**pause llm** by anna: the pager\n\n")
    assert f"{CANARY} keeps 50 % until somebody resumes it" in note.replace("\\", "")
    assert anna.phase == Phase.PAUSED
    [claim] = anna.step.run.traffic.claims()
    assert str(claim.command) == "anna: the pager"


def test_another_try_of_a_run_gives_no_other_command(anna: Commander) -> None:
    """Its first one stood, and died before it could say so."""
    note = anna.give("pause")
    task: Any = DAG.task_dict["control"]
    task.execute(anna.context)
    assert anna.told.pushed["report"] == note


def test_a_dag_that_is_paused_can_be_paused_and_aborted_but_not_hurried(anna: Commander) -> None:
    anna.paused = True
    with pytest.raises(CommandRefused, match="unpause it first"):
        anna.give("raise_now")
    anna.give("pause")
    assert "nothing is raised before it is unpaused" in anna.give("resume")
    anna.give("abort")
    assert anna.phase == Phase.RETURNING


def test_everything_is_stopped_and_goes_on(anna: Commander) -> None:
    assert "All rollouts are held until" in anna.give("stop", "everything")
    assert anna.phase == Phase.PAUSED
    anna.give("go", "everything")
    assert anna.phase == Phase.PROGRESSING
    anna.give("send_back", "everything", lasts="10m")
    assert anna.phase == Phase.RETURNING


def test_of_plans_that_became_invalid_it_is_said_that_nobody_knows_where_they_are(
    anna: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DAG.task_dict["control"], "invalid", ["shop"])
    assert "Maybe not where only plans are that are invalid now (shop)" in anna.give("stop", "everything")
    assert anna.phase == Phase.PAUSED
    with pytest.raises(CommandRefused, match="The plan shop is invalid now"):
        anna.give("abort", "shop")


def test_a_cluster_that_does_not_answer_keeps_no_other_from_being_stopped(
    anna: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is asked first: and the task is tried again, for the one that is left."""
    places = [{"plan": name, "dag": name, "kubernetes": name, "namespace": name} for name in ("away", "shop")]
    monkeypatch.setattr(DAG.task_dict["control"], "places", places)
    monkeypatch.setattr("inference_rollouts.operators.control.WRITE_DEADLINE", 0.0)

    def leading(connections: Any, namespace: str) -> Any:
        if namespace == "away":
            raise ClusterUnavailable("GET", "/apis", 0, "connection refused")
        return anna.step.run.clients

    monkeypatch.setattr("inference_rollouts.operators.control.clients_at", leading)
    for command, phase in (("stop", Phase.PAUSED), ("go", Phase.PROGRESSING), ("send_back", Phase.RETURNING)):
        with pytest.raises(
            PassingError, match=r"everywhere\. away \(away\): .*not answer .* shop \(shop\): "
        ):
            anna.give(command, "everything")
        assert anna.phase == phase
        assert "not done: Not everywhere." in anna.told.pushed["report"]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"what": "dance"}, "There is no command dance; there are: pause"),
        ({"what": "pause", "rollout": "lm"}, "There is no plan lm; there are: llm, food-review"),
        ({"what": "pause", "reason": " "}, "needs a reason"),
        ({"what": "stop"}, "stop is for everything"),
        ({"what": "pause", "rollout": "everything"}, "there are: stop, send_back, go"),
        ({"what": "stop", "rollout": "everything", "lasts": "long"}, "not a duration"),
        ({"what": "resume"}, "It is not paused"),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_note(
    anna: Commander, form: dict[str, str], words: str
) -> None:
    with pytest.raises(CommandRefused, match=words):
        anna.give(**form)
    assert "refused: " in anna.told.pushed["report"]
    assert anna.phase == Phase.PROGRESSING


@pytest.fixture
def undone(anna: Commander) -> Commander:
    """Anna has undone a promotion."""
    traffic, plan = anna.step.run.traffic, anna.step.run.plan
    traffic.permit(1, time.time())
    traffic.shift(2, plan.all_steps[1], time.time())
    traffic.permit(2, time.time())
    traffic.promote(time.time())
    with pytest.raises(NotFound):
        anna.give("pause")
    with pytest.raises(TaskDeferred) as deferred:
        anna.give("undo")
    assert isinstance(deferred.value.trigger, GuardTrigger)
    return anna


def test_an_undo_is_watched_where_nobody_else_does(undone: Commander) -> None:
    assert undone.step.cluster.weights() == {STABLE: 100, CANARY: 0}


def over(undone: Commander) -> None:
    [claimed] = claimed_objects(undone.step.cluster)
    assert claimed.claim
    way_back_of(undone.step.cluster, claimed.claim.token).restore("a test", time.time())


@pytest.mark.parametrize("ended", [[], [{"run": "rollout_shop/r1", "how": "done", "why": "an alarm"}]])
def test_it_is_watched_until_it_is_over_whatever_else_its_guardian_has_ended(
    undone: Commander, ended: list[dict[str, str]]
) -> None:
    task: Any = DAG.task_dict["control"]
    with pytest.raises(TaskDeferred):
        task.watched(undone.context, {"ended": ended})
    over(undone)
    task.watched(undone.context, {"ended": ended})


def test_one_that_a_worker_left_behind_is_watched_before_the_next_is_refused(undone: Commander) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        undone.give("undo")
    assert "refused: A rollout moves HTTPRoute" in undone.told.pushed["report"]
    over(undone)
    task: Any = DAG.task_dict["control"]
    with pytest.raises(CommandRefused, match="A rollout moves HTTPRoute"):
        task.watched(undone.context, {"ended": []}, **(deferred.value.kwargs or {}))


def test_a_try_that_comes_after_an_alarm_undoes_nothing_again(undone: Commander) -> None:
    """The worker that learnt of the end died: Airflow begins the task anew."""
    task: Any = DAG.task_dict["control"]
    with pytest.raises(TaskDeferred):
        task.execute(undone.context)
    over(undone)
    task.execute(undone.context)
    assert undone.step.cluster.weights() == {STABLE: 0, CANARY: 100}
    assert not claimed_objects(undone.step.cluster)


def test_the_form_takes_any_words_as_only_the_task_can_say_what_is_wrong() -> None:
    schemas = {name: DAG.params.get_param(name).schema for name in DAG.params}
    assert {schema["type"] for schema in schemas.values()} == {"string"}
    assert not any(key in schema for schema in schemas.values() for key in ("enum", "minLength", "pattern"))
    assert schemas["rollout"]["examples"] == ["llm", "food-review", "everything"]
    assert not DAG.is_paused_upon_creation
