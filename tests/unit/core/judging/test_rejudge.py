"""What another policy would have made of past rollouts."""

from pathlib import Path

import pytest

from inference_rollouts.cli import main
from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.decision_record import VERSION, StepRecord, canonical, read
from inference_rollouts.core.judging.judge import Carried, Verdict
from inference_rollouts.core.judging.rejudge import recorded, rejudged, summary
from inference_rollouts.core.judging.sums import carried_of
from tests.support.judging import HEALTHY, NEVER_SURE, Record, failing, policy, small_set, step

LONG, SHORT = policy(**NEVER_SURE), policy(**NEVER_SURE, alpha=1e-30)


def lines_of(errors: tuple[int, int], steps: int = 2) -> list[list[str]]:
    """A rollout judged by LONG until each step ends, each step 120 s long."""
    records, carried = [], Carried()
    for index in range(1, steps + 1):
        context = step(index=index, steps=steps, bake=120.0)
        recorder = Record(LONG, small_set(), context, carried, ())
        sums = judge.begin(LONG, small_set(), context, carried)
        for i in range(12):
            window = failing(10.0 * i, *errors)
            sums = judge.absorb(sums, window)
            recorder.window(window)
            judgement = judge.conclude(sums, HEALTHY, window.end)
            recorder.observation(HEALTHY, judgement)
            if judgement.verdict.final:
                break
        records.append(recorder.lines)
        carried = carried_of(sums, 0)
        if judgement.verdict is not Verdict.ADVANCE:
            break
    return records


def records(errors: tuple[int, int]) -> list[StepRecord]:
    return [read(lines) for lines in lines_of(errors)]


def test_the_same_policy_gives_the_same_outcome() -> None:
    for errors in ((0, 0), (3, 0)):
        before, after = recorded(records(errors)), rejudged(records(errors), LONG)
        assert (before.verdict, before.reason) == (after.verdict, after.reason)


def test_another_policy_may_decide_otherwise() -> None:
    bad = records((3, 0))
    assert recorded(bad).verdict is Verdict.ROLLBACK
    blind = rejudged(bad, SHORT)
    assert blind.verdict is Verdict.INCONCLUSIVE
    eager = policy(**NEVER_SURE, alpha=0.3)
    assert rejudged(bad, eager).seconds < recorded(bad).seconds
    pairs = [(recorded(each), rejudged(each, eager)) for each in (bad, records((0, 0)))]
    assert summary(pairs).startswith("This policy would have rolled back 1 of 2 rollouts, promoted 1 in 4")


def test_a_step_that_passes_where_the_records_end_is_no_promotion() -> None:
    """What the steps after it would have shown nobody knows."""
    [first, _] = records((0, 0))
    assert rejudged([first], LONG).verdict is recorded([first]).verdict is Verdict.ADVANCE
    pairs = [(recorded([first]), rejudged([first], LONG))]
    assert not pairs[0][1].promoted
    said = "rolled back 0 of 1 rollouts, been undecided about 1 where the records end"
    assert summary(pairs) == f"This policy would have {said}."


def test_policies_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DecisionRecordBroken, match="no metric 'nothing'"):
        rejudged(records((0, 0)), policy(tolerances={"nothing": 1.0}))
    with pytest.raises(DecisionRecordBroken, match="no observation"):
        recorded([])


@pytest.mark.parametrize("version", [1, 7])
def test_records_of_an_earlier_version_are_refused_in_words(version: int) -> None:
    """The first ones do not say theirs; of version 7 was what told too few events for a lack of data."""
    (lines, *_) = lines_of((0, 0))
    head = {key: value for key, value in read(lines).head.items() if key != "version"}
    head |= {"version": version} if version > 1 else {}
    with pytest.raises(
        DecisionRecordBroken, match=f"version {version}, and this release judges version {VERSION}"
    ):
        read([canonical(head), *lines[1:]])


def test_the_command_judges_folders_of_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, errors in (("one", (0, 0)), ("two", (3, 0))):
        (tmp_path / name).mkdir()
        for index, lines in enumerate(lines_of(errors), start=1):
            (tmp_path / name / f"step_{index}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    file = tmp_path / "policy.yaml"
    file.write_text("{alpha: 1.0e-30, margin: null, kappa: 1.0, interval: 10, min_requests: 20}")
    assert main(["rejudge", str(tmp_path), "--policy", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'two'}: undecided at the end after" in out
    assert "rolled back 0 of 2 rollouts" in out
    (tmp_path / "one" / "step_2.jsonl").unlink()
    assert main(["rejudge", str(tmp_path / "one"), "--policy", str(file)]) == 0
    assert "one: past step 1 of 2 at the end after" in capsys.readouterr().out
    file.write_text("{alpha: 3}")
    assert main(["rejudge", str(tmp_path), "--policy", str(file)]) == 2
    assert main(["rejudge", str(tmp_path / "nothing"), "--policy", str(file)]) == 2


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (None, "the policy cannot be read: No such file or directory."),
        (b"\xff", "the policy cannot be read: UnicodeDecodeError: 'utf-8' codec"),
        (b"a: b: c", "the policy cannot be read: ScannerError: mapping values are not allowed here in"),
        (b"[" * 100_000, "the policy cannot be read: "),
        (b"[alpha]", "the policy is invalid: it is no mapping of fields."),
        (b"analysis: 3", "the policy is invalid: "),
    ],
    ids=["no file", "no text", "no YAML", "lists in lists", "a list", "no analysis"],
)
def test_whatever_a_policy_s_file_holds_is_its_mistake_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: bytes | None, why: str
) -> None:
    file = tmp_path / "policy.yaml"
    if policy is not None:
        file.write_bytes(policy)
    assert main(["rejudge", str(tmp_path), "--policy", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{file}: {why}")
    assert err.count("\n") == 1
    assert "Errno" not in err
