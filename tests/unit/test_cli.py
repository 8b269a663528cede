"""The command line: what each command prints, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference_rollouts import __version__
from inference_rollouts.cli import main
from inference_rollouts.core.plan.plan import plan_schema
from tests.support.plans import ROOT

PLAN = ROOT / "include/rollouts/llm.yaml"


def test_power_says_by_its_status_whether_every_step_sees_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", str(PLAN), "--rate", "1"]) == 1
    assert "| step | weight |" in capsys.readouterr().out
    assert main(["power", str(PLAN), "--rate", "2000", "--bad", "0.05"]) == 0


@pytest.mark.parametrize(
    ("bad", "told"),
    [("0", "0 %, as 1 %"), ("0.001", "0.1 %, as 1 %"), ("0.01", "1 %"), ("0.03", "3 %"), ("1", "100 %")],
)
def test_power_says_for_which_share_it_is_asked_and_as_what_that_is_taken(
    bad: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["power", str(PLAN), "--bad", bad])
    out = capsys.readouterr().out
    [row] = [line for line in out.splitlines() if line.startswith("| 1 | 5 % | 5 min | HTTP 5xx |")]
    assert f"| {told} |" in row
    assert ("A negligible share is taken as the most that is" in out) is (float(bad) < 0.02)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *((f"power {PLAN} --rate={text}", f"{text!r} is not a number") for text in ("nan", "inf", "-1", "x")),
        *((f"power {PLAN} --bad={text}", f"{text!r} is not a number") for text in ("nan", "-0.1", "1.5", "")),
        *((f"guardian --port={text}", f"{text!r} is not a port") for text in ("-1", "65536", "80.5", "²")),
        *((f"stop --reason x --for={text}", f"{text!r} is not a duration") for text in ("-1h", "nan", "9e9")),
    ],
)
def test_a_number_that_is_none_or_cannot_be_meant_is_refused_in_words(
    given: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given.split(" "))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_what_cannot_be_done_is_one_sentence_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", str(PLAN.with_name("nothing.yaml"))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "nothing.yaml: it cannot be read: No such file or directory\n"


def test_a_cluster_that_nobody_knows_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "-n", "shop", "--kubeconfig", str(tmp_path / "none")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("The cluster does not answer GET ")
    assert err.endswith(f"no credentials: there is no kubeconfig {tmp_path / 'none'}\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "given",
    [
        f"plan {PLAN} --prometheus http://127.0.0.1:1 --prometheus-token-file",
        f"plan {PLAN} --prometheus http://127.0.0.1:1 --model-server-key-file",
        "guardian --once --webhook-file",
    ],
)
def test_a_secret_s_file_that_cannot_be_read_is_one_sentence(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*given.split(" "), str(tmp_path / "none")]) != 0
    assert capsys.readouterr().err.endswith(
        f"{tmp_path / 'none'} cannot be read: No such file or directory.\n"
    )


def test_who_has_no_name_commands_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a user of no image."""

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert main(["schema"]) == 0


def test_a_record_that_is_not_there_or_is_none_is_status_2_and_the_others_are_still_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"\xff")
    missing = tmp_path / "missing.jsonl"
    assert main(["replay", str(missing), str(broken), str(tmp_path)]) == 2
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        str(missing),
        str(broken),
        str(tmp_path),
    ]


def test_schema_prints_the_plan_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == plan_schema()


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_who_reads_no_further_gets_no_more() -> None:
    """As of `| head -1`: neither while it writes, nor when it ends."""
    for command in (["schema"], ["windows", str(PLAN)]):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            run = subprocess.run(
                [sys.executable, "-m", "inference_rollouts", *command],
                cwd=ROOT / "plugins",
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            os.close(writing)
        assert (run.returncode, run.stderr) == (141, "")


def test_who_interrupts_it_sees_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("inference_rollouts.cli.schema.run", interrupted)
    assert main(["schema"]) == 130


def test_it_runs_where_airflow_cannot_be_imported() -> None:
    """As a module, in an interpreter of its own that has no Airflow."""
    program = (
        "import runpy, sys; sys.modules['airflow'] = None; sys.argv = ['inference-rollouts', '--version'];"
        "runpy.run_module('inference_rollouts', run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "plugins", capture_output=True, text=True, check=True
    )
    assert run.stdout == f"inference-rollouts {__version__}\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (f"plan {PLAN} --prometheus prometheus:9090", "--prometheus prometheus:9090 is no address"),
        ("guardian --once --prometheus prometheus:9090", "--prometheus prometheus:9090 is no address"),
        ("guardian --once --prometheus-token-file x", "Name the metrics store with --prometheus"),
        ("guardian --once --prometheus-workload-identity", "Name the metrics store with --prometheus"),
        ("guardian --once --prometheus http://p --prometheus-token-file /none", "/none cannot be read"),
        ("guardian --once --webhook-token-file x", "Name the receiver with --webhook-file"),
    ],
)
def test_a_guardian_or_a_check_that_would_see_less_than_was_meant_does_not_begin(
    given: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*given.split(" "), "-n", "shop"]) != 0
    assert words in capsys.readouterr().err


def test_what_a_plan_names_that_is_not_there_is_told_before_any_cluster_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = tmp_path / "llm.yaml"
    lacks.write_text(PLAN.read_text() + "\ncalendars: [holidays]\n")
    nowhere = ["--prometheus", "http://127.0.0.1:1", "--kubeconfig", str(tmp_path / "none")]
    assert main(["plan", str(lacks), *nowhere]) == 1
    assert capsys.readouterr().err.startswith("There is no calendar 'holidays'")
