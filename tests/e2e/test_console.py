"""Rollouts in a live lab, watched and steered in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from bench.shared import SharedLab
from bench.stage import until
from tests.support.console_pages import tools
from tests.support.e2e.browser import Person, people
from tests.support.e2e.pipeline import ASKING, DAG, LONG, Pipeline

pytestmark = [
    pytest.mark.skipif(bool(tools()), reason=tools() or "all tools are there"),
    pytest.mark.timeout(900),
]

ASK, JUDGE = "step_1.ask", "step_1.judge"
CANARY = "llm-pool-version-2"
SURE = "dialog button.strong"
COMMAND = """fetch('api/rollouts/{dag}/{run}/commands', {{method: 'POST',
    headers: {{'Content-Type': 'application/json', 'X-Rollouts': '1'}},
    body: JSON.stringify({{what: 'abort', why: 'I may not'}})}}).then((answer) => answer.status)"""


@pytest.fixture(scope="module")
def signed_in(shared_pipeline: Pipeline) -> Iterator[dict[str, Person]]:
    airflow = shared_pipeline.airflow
    with people(airflow.url, airflow.passwords) as found:
        yield found


def share(person: Person) -> int:
    return int(person.read(".headline .big b").split()[0])


def badge(person: Person) -> str:
    return person.read(".headline .badge").split("\n")[-1].strip()


def judged(pipeline: Pipeline, dag: str, run: str, step: int) -> dict[str, Any]:
    """The judgement that ended a step, as its task returned it."""
    return dict(pipeline.client.xcom(dag, run, f"step_{step}.judge"))


def test_a_good_one_is_watched_asked_about_and_promoted(
    lab: SharedLab, pipeline: Pipeline, signed_in: dict[str, Person]
) -> None:
    admin, viewer = signed_in["admin"], signed_in["viewer"]
    run = pipeline.trigger(CANARY, [50, 100], dag=ASKING)
    admin.open("/plugin/rollouts/inference-rollouts/")
    admin.click("iframe >>> .flight a.row")
    pipeline.reach(run, ASK, "deferred", dag=ASKING)
    admin.wait("iframe >>> .asked")
    frame = "document.querySelector('iframe').contentDocument.querySelector('.headline .big b').textContent"
    until(lambda: admin.evaluate(frame).split()[0] == "50", "half of the traffic in the headline")
    assert lab.stage.weights() == {"llm-pool": 50, CANARY: 50}

    viewer.rollout(ASKING, run)
    viewer.wait(".asked")
    assert "Who may edit runs of this DAG can answer." in viewer.read(".asked")
    assert viewer.evaluate("document.querySelectorAll('.tools button').length") == 1, "it can be saved"
    assert viewer.evaluate(COMMAND.format(dag=quote(ASKING, safe=""), run=quote(run, safe=""))) == 403

    def answered() -> bool:
        """Airflow may ask again: it takes a task for dead whose answer comes while it is being deferred."""
        if admin.evaluate(
            "document.querySelector('iframe').contentDocument.querySelectorAll('.asked').length"
        ):
            admin.click("iframe >>> .asked button:has-text('Go on')")
            admin.click(f"iframe >>> {SURE}")
            admin.wait("iframe >>> .done")
        return pipeline.state(run, ASK, ASKING) == "success"

    until(answered, "the answer to be heard", LONG, poll=2.0)
    assert pipeline.end(run, ASKING) == "success"
    viewer.wait(".badge:has-text('Promoted')")
    assert share(viewer) == 100
    assert lab.stage.weights() == {"llm-pool": 0, CANARY: 100}


def test_a_bad_one_is_seen_to_go_back(
    lab: SharedLab, pipeline: Pipeline, signed_in: dict[str, Person]
) -> None:
    admin, before = signed_in["admin"], lab.stage.route()
    run = pipeline.trigger(CANARY, [50, 100], bake="60s")
    admin.rollout(DAG, run)
    pipeline.reach(run, JUDGE, "deferred")
    admin.wait(".ladder >> text=now")
    # The ladder is what Airflow's tasks left, the headline what the claims say: neither waits for the other.
    until(lambda: (share(admin), badge(admin)) == (50, "Running"), "half of the traffic in the headline")
    lab.stage.fault(CANARY, http_500=1.0)
    assert pipeline.end(run) == "failed"
    admin.wait(".badge:has-text('Rolled back')")
    assert share(admin) == 0
    assert lab.stage.route()["spec"] == before["spec"]
    decided = judged(pipeline, DAG, run, 1)
    assert decided["verdict"] == "rollback"
    assert decided["reason"] in admin.read(".headline")
    admin.wait(f".reason:has-text({json.dumps(decided['reason'])})")
    admin.wait(".alpha dd:has-text('worse after')")


def test_one_is_aborted_by_a_click(lab: SharedLab, pipeline: Pipeline, signed_in: dict[str, Person]) -> None:
    admin, before = signed_in["admin"], lab.stage.route()
    run = pipeline.trigger(CANARY, [50, 100], bake="60s")
    admin.rollout(DAG, run)
    pipeline.reach(run, JUDGE, "deferred")
    admin.click("button:has-text('Abort')")
    admin.fill("dialog input", "it rambles")
    admin.click(SURE)
    admin.wait(".done")
    assert pipeline.end(run) == "failed"
    until(lambda: lab.stage.route()["spec"] == before["spec"], "the route as found")
    assert "admin: it rambles" in pipeline.client.run(DAG, run)["note"]
    admin.wait(".badge:has-text('Rolled back')")
