"""A step under observation: what makes it pass, what takes the canary off, what keeps it waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest

from inference_rollouts.cli import main
from inference_rollouts.core.errors import ClaimLost, RaiseRefused, RouteDrift
from inference_rollouts.core.judging.decision_record import replay, windows_in
from inference_rollouts.core.judging.judge import Carried, Verdict
from inference_rollouts.core.reporting.approval import watched
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.rollout import reflex
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.step_observer import StepObserver
from tests.support.foreign_storm import storm_elsewhere
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step

PATIENT = {"margin": None}
PICKER = {"name": "gone", "kind": "Service", "port": {"number": 9002}}


def test_a_good_step_advances() -> None:
    step = Step(analysis=PATIENT)
    event = step.judged()
    assert event["judgement"]["verdict"] == "advance"
    assert event["judgement"]["canary"]["requests"] > 50
    [claim] = step.run.traffic.claims()
    assert permits(claim), "the next step may be raised"


def test_what_is_doubtful_about_the_counts_is_said() -> None:
    """A pod that is ready and in no answer; what the store says of its answers and its clock."""
    step = Step(analysis=PATIENT | {"interval": "1s"})
    observer = step.observer()
    silent = next(iter(step.cluster.pods_of(CANARY)))
    step.prometheus.unscraped = {silent}
    step.prometheus.remarks = ("Prometheus warns: partial.",)
    said = [observer.observe(step.since + seconds).warnings for seconds in (0, 1)]
    assert all("Prometheus warns: partial." in each for each in said)
    words = f"The metrics store has no metrics of {silent} for vllm."
    assert words in said[1]
    step.prometheus.unscraped, step.prometheus.remarks = set(), ()
    later = observer.observe(step.since + 2).warnings
    assert not {words, "Prometheus warns: partial."} & set(later)


def test_an_alarm_takes_the_traffic_away() -> None:
    step = Step()
    step.prometheus.failing[CANARY] = 0.2
    event = step.judged()
    assert event["judgement"]["verdict"] == "rollback"
    assert "HTTP 5xx" in event["judgement"]["reason"]
    assert step.cluster.weights() == {STABLE: 1, CANARY: 0}
    assert step.cluster.events[-1] == "CanaryAlarm"
    [claim] = step.run.traffic.claims()
    assert (claim.phase, claim.percent, permits(claim)) == (Phase.RETURNING, 0, False)


def test_a_step_that_a_person_is_asked_about_permits_nothing_yet() -> None:
    step = Step(analysis=PATIENT, approvals={"steps": [100]})
    assert step.judged()["judgement"]["verdict"] == "advance"
    [claim] = step.run.traffic.claims()
    assert not permits(claim)
    with pytest.raises(RaiseRefused, match="step 1 passed"):
        step.run.traffic.shift(2, step.run.plan.all_steps[1], step.since + 9)


def test_a_reflex_that_fails_leaves_the_rollback_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step()
    step.prometheus.failing[CANARY] = 0.2

    def unreachable(*_: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(step.cluster, "patch", unreachable)
    monkeypatch.setattr(reflex, "REFLEX_DEADLINE", 0.0)
    assert step.judged()["judgement"]["verdict"] == "rollback"


def test_a_dead_prometheus_never_passes_and_rolls_back_only_at_the_progress_deadline() -> None:
    step = Step()
    step.prometheus.down = True
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert "does not answer" in judgement["reason"]
    assert judgement["time"] - step.since >= 1.2


def test_weights_that_are_not_in_force_never_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(analysis=PATIENT)
    monkeypatch.setattr(step.cluster, "weights", lambda: {STABLE: 95, CANARY: 5})
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert "not in force" in judgement["reason"]


def test_requests_that_never_reach_the_canary_s_servers_take_the_traffic_away() -> None:
    step = Step(analysis=PATIENT)
    step.prometheus.lost[CANARY] = 0.2
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert judgement["blame"] == "envoy_errors"
    assert step.cluster.weights() == {STABLE: 1, CANARY: 0}


def test_where_no_gateway_is_asked_a_canary_that_loses_requests_is_not_at_its_share() -> None:
    step = Step(analysis=PATIENT, metrics="vllm")
    step.prometheus.lost[CANARY] = 0.7
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert "the canary should get 50% and was seen to get 23." in judgement["reason"]


@pytest.mark.parametrize(("unpicked", "verdict"), [(0.0, "advance"), (0.99, "rollback")])
def test_a_canary_whose_own_picker_is_not_asked_does_not_pass(unpicked: float, verdict: str) -> None:
    step = Step(analysis=PATIENT, metrics=["vllm", "endpoint_picker"])
    step.prometheus.unpicked[CANARY] = unpicked
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == verdict
    assert ("the gateway asks another picker, or none" in judgement["reason"]) is (verdict == "rollback")


def test_a_storm_that_the_gateway_alone_sees_takes_the_traffic_away_before_anything_is_counted() -> None:
    step = Step(analysis={"interval": "5s"})
    step.prometheus.lost[CANARY] = 0.9
    context = step.run.plan.step_context(1, step.since).model_copy(update={"initial_delay": 60.0})
    observer = StepObserver(step.run, context, Carried())
    judgement = [observer.observe(step.since + seconds) for seconds in (0.0, 10.0)][-1]
    assert judgement.verdict.value == "rollback"
    assert "A storm of HTTP 5xx or no answer (envoy)" in judgement.reason


def test_somebody_elses_weights_end_the_judging() -> None:
    step = Step()
    step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    with pytest.raises(RouteDrift, match="was changed by"):
        step.judged()


def test_whoever_watches_a_step_that_has_passed_meanwhile_takes_nothing_back() -> None:
    """A triggerer that hung while another let it pass: its counts are of a share that nobody has set."""
    step = Step(analysis=PATIENT)
    observer, now = step.observer(), step.since
    assert not observer.observe(now).verdict.final
    step.run.traffic.permit(1, now)
    step.run.traffic.shift(2, step.run.plan.all_steps[1], now)
    with pytest.raises(ClaimLost, match="Step 1 does not stand any more"):
        observer.observe(now + 60)
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_nor_does_one_that_could_not_see_that(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(analysis=PATIENT)
    observer, now = step.observer(), step.since
    step.run.traffic.permit(1, now)
    step.run.traffic.shift(2, step.run.plan.all_steps[1], now)
    with monkeypatch.context() as cut_off:
        cut_off.setattr(observer._lookout.sight, "observe", _cut_off)
        _, judgement = (observer.observe(now + later) for later in (60, 120))
    assert judgement.verdict is Verdict.ROLLBACK
    observer.finish(judgement, "step_1.jsonl")
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


def _cut_off(**_: object) -> NoReturn:
    raise ConnectionError("unreachable")


def test_a_canary_whose_picker_is_down_and_drops_its_requests_is_an_alarm() -> None:
    step = Step(analysis=PATIENT)
    step.cluster.objects["InferencePool", CANARY]["spec"]["endpointPickerRef"] = PICKER
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert "drops all requests" in judgement["reason"]
    assert judgement["time"] == step.since, "at the first observation"


@pytest.mark.parametrize("pool", [STABLE, CANARY])
def test_a_picker_that_is_down_but_lets_requests_pass_keeps_the_step_from_passing(pool: str) -> None:
    step = Step(analysis=PATIENT)
    open_ref = {**PICKER, "failureMode": "FailOpen"}
    step.cluster.objects["InferencePool", pool]["spec"]["endpointPickerRef"] = open_ref
    judgement = step.judged()["judgement"]
    assert judgement["verdict"] == "rollback"
    assert f"picker gone of {pool}" in judgement["reason"]
    assert judgement["time"] - step.since >= 1.2, "only when progress_deadline ends"


def test_a_canary_without_ready_pods_is_an_alarm() -> None:
    step = Step()
    for number in range(3):
        del step.cluster.objects["Pod", f"{CANARY}-{number}"]
    assert step.judged()["judgement"]["reason"] == "The canary has no ready endpoints."


@pytest.mark.parametrize(("seconds", "verdict"), [(-60, "advance"), (+60, "rollback")])
def test_restarts_are_an_alarm_only_if_they_go_on_after_the_shift(seconds: float, verdict: str) -> None:
    step = Step(analysis=PATIENT)
    ended = datetime.fromtimestamp(step.since + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    step.cluster.objects["Pod", f"{CANARY}-0"]["status"]["containerStatuses"] = [
        {"restartCount": 3, "state": {}, "lastState": {"terminated": {"finishedAt": ended}}}
    ]
    assert step.judged()["judgement"]["verdict"] == verdict


def test_a_watch_that_begins_anew_counts_no_crash_again() -> None:
    """It goes on from the last window, and the crash after that was seen before it."""
    step = Step(analysis=PATIENT)
    ended = datetime.fromtimestamp(step.since + 30, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    step.cluster.objects["Pod", f"{CANARY}-0"]["status"]["containerStatuses"] = [
        {"restartCount": 2, "state": {}, "lastState": {"terminated": {"finishedAt": ended}}}
    ]
    frozen, context = watched(step.run.frozen, 1, step.since)
    again = StepObserver(replace(step.run, frozen=frozen), context, Carried(crashes=2), known=step.since + 60)
    assert again.observe(step.since + 61).verdict.value != "rollback"


def test_the_record_of_a_decision_is_stored_and_can_be_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Step(storage="s3://records")
    step.prometheus.failing[CANARY] = 0.2
    event = step.judged()
    assert replay(event["record"]) == event["record"]
    [(url, text)] = step.storage.files.items()
    assert url.startswith("s3://records/")
    assert url.endswith("/step_1.jsonl")
    assert text.splitlines() == event["record"]
    written = tmp_path / "step_1.jsonl"
    written.write_text(text)
    assert main(["replay", str(written)]) == 0
    assert "the same verdicts: " in capsys.readouterr().out
    written.write_text(text.replace('"verdict":"rollback"', '"verdict":"advance"'))
    assert main(["replay", str(written)]) == 1
    written.write_text("nonsense")
    assert main(["replay", str(written)]) == 2


def test_a_step_that_a_person_ends_is_recorded_to_its_last_window() -> None:
    step = Step(analysis={"interval": "1s"}, bake="1h")
    observer = step.observer()
    for seconds in range(9):
        observer.observe(step.since + seconds)
    Control(step.cluster, step.run.frozen.targets, step.run.frozen.token).give("raise_now", "anna", "fine")
    final = observer.observe(step.since + 9)
    assert final.verdict.final
    record = observer.finish(final, "step_1.jsonl")["record"]
    assert windows_in(record)[-1].end == final.windows_end == step.since + 9
    assert list(replay(record)) == record


def test_points_for_the_chart_are_kept_for_every_observation() -> None:
    times = [point[0] for point in Step(analysis=PATIENT).judged()["points"]]
    assert times
    assert times == sorted(times)


class TestTheInitialDelay:
    def delayed(self) -> tuple[Step, StepObserver]:
        step = Step(analysis={"interval": "5s", "guardrails": {"storm_requests": 20}})
        context = step.run.plan.step_context(1, step.since).model_copy(update={"initial_delay": 60.0})
        return step, StepObserver(step.run, context, Carried())

    def test_a_storm_takes_the_traffic_away_before_anything_is_counted(self) -> None:
        step, observer = self.delayed()
        step.prometheus.failing[CANARY] = 1.0
        judgements = [observer.observe(step.since + seconds) for seconds in (0.0, 9.0, 10.0)]
        assert [each.verdict.value for each in judgements][-1] == "rollback"
        assert not judgements[1].verdict.final
        assert "A storm of HTTP 5xx" in judgements[-1].reason
        record = observer.finish(judgements[-1], "step_1.jsonl")["record"]
        assert step.cluster.weights() == {STABLE: 1, CANARY: 0}
        assert list(replay(record)) == record

    def test_another_cluster_s_storm_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step, observer = self.delayed()
        storm_elsewhere(monkeypatch, step.prometheus, CANARY)
        judgements = [observer.observe(step.since + seconds) for seconds in (0.0, 9.0, 10.0, 20.0)]
        assert not any(each.verdict.final for each in judgements)

    def test_few_failures_are_no_storm_and_are_not_counted(self) -> None:
        step, observer = self.delayed()
        step.prometheus.failing[CANARY] = 0.2
        for seconds in range(0, 55, 5):
            judgement = observer.observe(step.since + seconds)
            assert not judgement.verdict.final
        assert judgement.canary.requests == 0

    def test_a_canary_without_pods_is_seen_at_once(self) -> None:
        step, observer = self.delayed()
        step.cluster.scale(CANARY, 0)
        assert "no ready endpoints" in observer.observe(step.since + 1).reason

    def test_it_is_watched_by_whoever_observes(self) -> None:
        step, observer = self.delayed()
        observer.observe(step.since + 1)
        lease = step.cluster.objects["Lease", "httproute-routes-to-llm"]
        assert lease["spec"]["holderIdentity"].startswith("triggerer ")
        assert lease["metadata"]["labels"]["inference-rollouts.dev/verdict"] == "inconclusive"
