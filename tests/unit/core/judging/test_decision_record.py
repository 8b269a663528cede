"""The decision record: replayed to the same bytes, or refused."""

import json
from pathlib import Path

import pytest

from inference_rollouts.cli import main
from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.decision_record import Newest, canonical, replay
from inference_rollouts.core.judging.judge import Carried, Verdict
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.queries import queries
from tests.support.judging import (
    CANARY,
    HEALTHY,
    STABLE,
    Record,
    policy,
    quiet_windows,
    random_windows,
    small_set,
    step,
)


def recorded(
    seed: int = 0,
    count: int = 12,
    canary: tuple[float, float] = (0.02, 0.3),
    metric_set: MetricSet | None = None,
) -> list[str]:
    metric_set, rules, context = metric_set or small_set(), policy(), step(last_compared=True)
    recorder = Record(rules, metric_set, context, Carried(), queries(metric_set, CANARY, STABLE))
    sums = judge.begin(rules, metric_set, context, Carried())
    for window in random_windows(metric_set, seed, count, canary=canary):
        sums = judge.absorb(sums, window)
        recorder.window(window)
        recorder.observation(HEALTHY, judge.conclude(sums, HEALTHY, window.end))
    return recorder.lines


def test_replay_gives_the_same_bytes() -> None:
    lines = recorded(canary=(0.2, 0.6))
    assert json.loads(lines[-1])["judgement"]["verdict"] == Verdict.ROLLBACK
    assert replay(lines) == lines


def test_lines_are_canonical_json_with_the_queries() -> None:
    lines = recorded()
    assert all(canonical(json.loads(line)) == line for line in lines)
    assert "requests_total" in json.loads(lines[0])["queries"]["counts"]


def test_values_are_written_as_their_plain_data() -> None:
    window = quiet_windows(1)[0]
    assert canonical(window) == canonical(window.to_json())
    assert canonical({"b": 1e-05, "a": [HEALTHY]}) == canonical({"a": [HEALTHY.to_json()], "b": 0.00001})


def test_observations_that_change_nothing_are_recorded_once_a_minute() -> None:
    observations = [json.loads(line) for line in recorded(count=20)[1:]]
    times = [line["judgement"]["time"] for line in observations]
    verdicts = [(line["judgement"]["verdict"], line["judgement"]["blame"]) for line in observations]
    assert len(observations) < 12
    for i in range(1, len(observations)):
        assert times[i] - times[i - 1] >= 60 or verdicts[i] != verdicts[i - 1]
    windows = [window for line in observations for window in line["windows"]]
    assert [window["start"] for window in windows] == [10.0 * i for i in range(len(windows))]


def test_a_changed_count_is_found_out() -> None:
    lines = recorded()
    line = json.loads(lines[1])
    line["windows"][0]["counts"]["errors"]["canary"]["n"] += 1
    lines[1] = canonical(line)
    assert replay(lines) != lines


@pytest.mark.parametrize(
    "lines", [[], ["no json"], ['{"kind":"observation"}'], ['{"kind":"step"}'], ["[]"], ["[" * 100_000]]
)
def test_other_things_are_refused(lines: list[str]) -> None:
    with pytest.raises(DecisionRecordBroken):
        replay(lines)


def test_a_record_that_says_no_verdict_or_counts_too_much_is_refused() -> None:
    head, first, *_ = recorded()
    silent, countless = json.loads(first), json.loads(first)
    del silent["judgement"]["verdict"]
    countless["windows"][0]["counts"]["errors"]["canary"]["n"] = 10**30
    for line in (silent, countless):
        with pytest.raises(DecisionRecordBroken):
            replay([head, json.dumps(line)])


@pytest.mark.parametrize("command", ["replay", "rejudge"])
def test_names_may_have_signs_that_end_a_line_elsewhere(command: str, tmp_path: Path) -> None:
    record, policy_file = tmp_path / "step_1.jsonl", tmp_path / "policy.yaml"
    lines = recorded(metric_set=small_set(title="failed\u2028ones\x85"))
    record.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    policy_file.write_text(canonical(policy()))
    how = [str(record)] if command == "replay" else [str(tmp_path), "--policy", str(policy_file)]
    assert main([command, *how]) == 0


def newest(lines: list[str], limit: int) -> list[str]:
    kept = Newest(lines[0], limit)
    for line in lines[1:]:
        kept.add(line)
    return kept.lines


def test_a_bounded_record_keeps_the_rules_and_the_newest_observations() -> None:
    lines = recorded(count=200)
    short = newest(lines, 20_000)
    assert sum(len(line) + 1 for line in short) <= 20_000
    assert (short[0], short[-1]) == (lines[0], lines[-1])
    assert json.loads(short[1]) == {"kind": "gap", "observations": len(lines) + 1 - len(short)}
    assert newest(lines, 10**9) == lines
    with pytest.raises(DecisionRecordBroken, match="shortened"):
        replay(short)
