"""A person is asked in a live Airflow, and answers as its UI does: through the REST API."""

from __future__ import annotations

import pytest

from bench.shared import SharedLab
from bench.stage import until
from tests.support.e2e.pipeline import ASKING, LONG, Pipeline

pytestmark = pytest.mark.timeout(900)

ASK = "step_1.ask"
CANARY = "llm-pool-version-2"


def answer(pipeline: Pipeline, run: str, option: str) -> None:
    """Choose an option, and once more whenever it is asked again, until the task goes on.

    Airflow takes a task for dead whose answer comes while the scheduler still books that it was deferred; the
    next try asks anew.
    """

    def goes_on() -> bool:
        state = pipeline.state(run, ASK, ASKING)
        if state == "deferred" and not pipeline.client.question(ASKING, run, ASK)["response_received"]:
            pipeline.client.answer(ASKING, run, ASK, option)
        return state == "success"

    until(goes_on, "the answer to be heard", LONG)


def test_a_yes_through_the_api_promotes(lab: SharedLab, pipeline: Pipeline) -> None:
    run = pipeline.trigger(CANARY, [50, 100], dag=ASKING)
    pipeline.reach(run, ASK, "deferred", dag=ASKING)
    question = pipeline.client.question(ASKING, run, ASK)
    assert question["subject"].startswith(f"{CANARY}: raise it from 50 % to 100 %")
    assert lab.stage.weights() == {"llm-pool": 50, CANARY: 50}
    answer(pipeline, run, "Go on")
    assert pipeline.end(run, ASKING) == "success"
    assert lab.stage.weights() == {"llm-pool": 0, CANARY: 100}
    assert 'chose "Go on"' in pipeline.client.run(ASKING, run)["note"]


def test_a_run_that_is_marked_as_failed_while_it_asks_goes_back(lab: SharedLab, pipeline: Pipeline) -> None:
    before = lab.stage.route()
    run = pipeline.trigger(CANARY, [50, 100], dag=ASKING)
    pipeline.reach(run, ASK, "deferred", dag=ASKING)
    pipeline.client.set_run_state(ASKING, run, "failed")
    assert pipeline.end(run, ASKING) == "failed"
    until(lambda: lab.stage.route()["spec"] == before["spec"], "the route as found")
    assert lab.lost == {}
