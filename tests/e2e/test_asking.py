"""A person is asked in a live Airflow, and answers as its UI does: through the REST API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.airflow.client import AirflowClient
from lab.host.state import CHECKOUT

from .stage import DAG, Stage, until

pytestmark = pytest.mark.timeout(400)
ASK = "step_1.ask"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        include = tmp_path_factory.mktemp("asking") / "include"
        patch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(_asking(include)))
        with Stage(tmp_path_factory.mktemp("stage")) as stage:
            yield stage


def _asking(include: Path) -> Path:
    """The project's include/, its plan asking before 100 %."""
    shutil.copytree(CHECKOUT / "include", include)
    path = include / "rollouts" / "llm.yaml"
    plan = yaml.safe_load(path.read_text()) | {"approvals": {"steps": [100]}}
    path.write_text(yaml.safe_dump(plan))
    return include


def _asked(client: AirflowClient, run: str) -> bool:
    return any(ti["task_id"] == ASK and ti["state"] == "deferred" for ti in client.task_instances(DAG, run))


def test_a_yes_through_the_api_promotes(stage: Stage) -> None:
    run = stage.trigger("llm-pool", "llm-pool-version-2", [50, 100])
    until(lambda: _asked(stage.client, run), "the question")
    question = stage.client.question(DAG, run, ASK)
    assert question["subject"].startswith("llm-pool-version-2: raise it from 50 % to 100 %")
    assert stage.weights() == {"llm-pool": 50, "llm-pool-version-2": 50}
    stage.client.answer(DAG, run, ASK, "Go on")
    assert stage.client.wait(DAG, run, 200) == "success"
    assert stage.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}
    assert 'chose "Go on"' in stage.client.run(DAG, run)["note"]


def test_a_run_that_is_marked_as_failed_while_it_asks_goes_back(stage: Stage) -> None:
    before = stage.route()
    stable = max(stage.weights(), key=stage.weights().__getitem__)
    run = stage.trigger(stable, "llm-pool-version-3", [50, 100])
    until(lambda: _asked(stage.client, run), "the question")
    stage.client.set_run_state(DAG, run, "failed")
    assert stage.client.wait(DAG, run) == "failed"
    until(lambda: stage.route()["spec"] == before["spec"], "the route as found")
    assert stage.failures() == {}
