"""The decision record: replayed to the same bytes, or refused."""

import json
from pathlib import Path
from typing import Any

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


def changed_record(where: str, value: Any) -> list[str]:
    """A record whose first observation has another value at `where`; nothing there where it is None."""
    head, first, *others = recorded()
    whole = place = json.loads(first)
    *way, last = (int(name) if name.isdecimal() else name for name in where.split("."))
    for name in way:
        place = place[name]
    place[last] = value
    if value is None:
        del place[last]
    return [head, json.dumps(whole), *others]


def judged_again(
    command: str, lines: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """The exit status of a command, what it says, and what it says is wrong."""
    record, policy_file = folder / "step_1.jsonl", folder / "policy.yaml"
    record.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    policy_file.write_text(canonical(policy()))
    how = [str(record)] if command == "replay" else [str(folder), "--policy", str(policy_file)]
    return main([command, *how]), *capsys.readouterr()


TTFT = "windows.0.counts.ttft"


@pytest.mark.parametrize("command", ["replay", "rejudge"])
@pytest.mark.parametrize(
    ("where", "value", "words"),
    [
        (f"{TTFT}.canary.bad", [1], "counts of 'ttft' are not of its 2 thresholds"),
        (f"{TTFT}.chi2", [0.0, 0.0, 0.0], "counts of 'ttft' are not of its 2 thresholds"),
        (f"{TTFT}.lasting_df", [], "counts of 'ttft' are not of its 2 thresholds"),
        (f"{TTFT}.canary.n", -1, "-1 events of 'ttft'"),
        (f"{TTFT}.stable.bad", [10**30, 0], "are no counts"),
        (f"{TTFT}.stable.n", "many", "counts.ttft: Expected `int`, got `str`"),
        (f"{TTFT}.stable", None, "counts.ttft: Object missing required field `stable`"),
        ("windows.0.start", 1e300, "a window ends at 10, where it begins or before"),
        ("windows", None, "it lacks 'windows'"),
        ("judgement.time", "soon", "could not convert"),
    ],
)
def test_what_is_recorded_and_cannot_be_judged_is_refused_in_a_sentence(
    command: str, where: str, value: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = judged_again(command, changed_record(where, value), tmp_path, capsys)
    assert words in err
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    ("command", "where", "value"),
    [("rejudge", f"{TTFT}.chi2", [1e308, 1e308]), ("replay", "judgement.more", "\ud800")],
)
def test_what_goes_wrong_only_as_it_is_judged_again_is_refused(
    command: str, where: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sums that are no number any more; text that no file could hold."""
    status, out, err = judged_again(command, changed_record(where, value), tmp_path, capsys)
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("command", ["replay", "rejudge"])
def test_names_may_have_signs_that_end_a_line_elsewhere(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = recorded(metric_set=small_set(title="failed\u2028ones\x85"))
    status, *_ = judged_again(command, lines, tmp_path, capsys)
    assert status == 0


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
