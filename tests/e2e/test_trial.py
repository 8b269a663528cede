"""A canary is tried in a live lab: if all its answers are 500, no client loses a request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml

from bench.reflex import ROUTE, judgement, theatre
from lab.host.state import CHECKOUT, StateDirectory

pytestmark = pytest.mark.timeout(200)

ASKED = {"model": "llama-3.1-8b", "prompt": "Say hello.", "max_tokens": 4}
TRIED = {"preview": {"header": "x-preview", "value": "canary"}, "mirror": {"percent": 25, "bake": "6s"}}


@dataclass
class Trial:
    """A lab in which the canary's pods run, and what a plan with a preview and a mirror froze."""

    addresses: Any
    cluster: Any
    frozen: Any
    traffic: Any

    def ask(self, **headers: str) -> int:
        url = f"{self.addresses['gateway']['url']}/v1/completions"
        return requests.post(url, json=ASKED, headers=headers, timeout=10).status_code

    def fail(self, share: float) -> None:
        """From now on the canary answers this share of its requests with 500."""
        for pod in self.cluster.select("v1", "Pod", {"inference-pool": self.frozen.plan.canary}):
            url = f"http://{pod['status']['podIP']}:8000/lab/faults"
            requests.post(url, json={"http_500": share}, timeout=5).raise_for_status()

    def lost(self) -> dict[str, int]:
        """What clients saw fail, by cause."""
        totals = requests.get(f"{self.addresses['loadgen']['url']}/stats", timeout=5).json()["totals"]
        return {cause: count for cause, count in totals["outcomes"].items() if cause != "ok" and count}

    def attach(self) -> None:
        """As the task deploy_pool does, once the pods are ready."""
        from inference_rollouts.rollout.checks import CHECKS

        self.traffic.attach()
        for preview in self.frozen.previews:
            self.cluster.apply(preview)
        until(lambda: CHECKS["attachment"](self.cluster, self.frozen).phase == "ready")

    def end_preview(self) -> None:
        from inference_rollouts.operators.preview import EndPreview

        context = {
            "ti": SimpleNamespace(xcom_pull=lambda **_: self.frozen.to_json(), xcom_push=lambda **_: None)
        }
        EndPreview.execute.__wrapped__(EndPreview(task_id="end_preview"), context)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("trial") / "lab"
    with theatre(folder) as stage:
        from inference_rollouts.core.plan.plan import parse_plan
        from inference_rollouts.preflight import freeze
        from inference_rollouts.rollout.traffic import Traffic

        value = yaml.safe_load((CHECKOUT / "include/rollouts/llm.yaml").read_text()) | TRIED
        plan = parse_plan(value | {"analysis": {"interval": "1s", "margin": None}})
        frozen = freeze(plan, "tests/trial", stage.cluster, stage.prometheus)
        traffic = Traffic(stage.cluster, plan, frozen.run, frozen.targets)
        yield Trial(StateDirectory(folder).read(), stage.cluster, frozen, traffic)


def until(true: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_preview_s_header_leads_to_the_canary_and_to_nothing_else(trial: Trial) -> None:
    trial.fail(1.0)
    found, lost = trial.cluster.get(*ROUTE)["spec"], trial.lost()
    assert trial.ask(**{"x-preview": "canary"}) == 200, "there is no preview yet"
    trial.attach()
    assert Counter(trial.ask(**{"x-preview": "canary"}) for _ in range(30)) == {500: 30}
    assert Counter(trial.ask() for _ in range(30)) == {200: 30}
    assert Counter(trial.ask(**{"x-preview": "other"}) for _ in range(10)) == {200: 10}
    trial.traffic.restore("the trial is over")
    trial.end_preview()
    trial.end_preview()
    until(lambda: trial.ask(**{"x-preview": "canary"}) == 200)
    assert trial.cluster.get(*ROUTE)["spec"] == found
    assert trial.lost() == lost


@pytest.mark.parametrize(("failing", "verdict"), [(1.0, "rollback"), (0.0, "advance")])
def test_copies_show_what_a_canary_is_worth_before_a_client_sees_it(
    trial: Trial, failing: float, verdict: str
) -> None:
    from inference_rollouts.triggers.judge import JudgeTrigger

    trial.fail(failing)
    found, lost = trial.cluster.get(*ROUTE)["spec"], trial.lost()
    trial.attach()
    planned, since = trial.frozen.plan.all_steps[0], time.time()
    trial.traffic.shift(planned.weight, 1, since, planned.mirror)
    said = asyncio.run(judgement(JudgeTrigger(frozen=trial.frozen.to_json(), step=1, since=since)))
    assert said["verdict"] == verdict, said["reason"]
    canary, stable = said["canary"], said["stable"]
    assert (canary["errors"], stable["errors"]) == (failing, 0.0)
    assert 0.1 < canary["requests"] / (canary["requests"] + stable["requests"]) < 0.3
    rule = trial.cluster.get(*ROUTE)["spec"]["rules"][0]
    assert ("filters" in rule) is (verdict == "advance"), "on an alarm the trigger itself ends the mirror"
    trial.traffic.restore(said["reason"])
    trial.end_preview()
    assert trial.cluster.get(*ROUTE)["spec"] == found
    assert trial.lost() == lost
