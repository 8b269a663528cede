"""The command line on labs that need no cluster: none, half of one, somebody else's directory."""

import argparse
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.cli import main, rate
from lab.host import processes
from lab.host.processes import Process
from lab.host.state import LOCK, StateDirectory
from lab.lifecycle.up import Startup
from lab.loadgen.__main__ import rate as generator_s

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@pytest.fixture
def sleeper(directory: StateDirectory) -> Iterator[Process]:
    """One process, recorded as the whole of a lab that is not ready."""
    process = processes.start("sleeper", SLEEP, directory.log("sleeper"))
    record = Startup(directory, 60, Path("unused"), print).record
    directory.write(record | {"apiserver": {"url": "https://127.0.0.1:1"}, "processes": {}})
    note(directory, process)
    yield process
    processes.stop([process], patience=0)


def note(directory: StateDirectory, process: Process) -> None:
    record = directory.read()
    assert record is not None
    record["processes"][process.name] = process.record()
    directory.write(record)


def run(command: str, directory: StateDirectory) -> int:
    return main([command, "--dir", str(directory.path)])


def test_status_without_a_lab(directory: StateDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", directory) == 3
    assert "no lab is running" in capsys.readouterr().out


def test_down_without_a_lab(directory: StateDirectory) -> None:
    assert run("down", directory) == 0
    assert not directory.path.exists()


def test_status_names_an_ended_process(
    directory: StateDirectory, sleeper: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    processes.stop([sleeper])
    assert run("status", directory) == 1
    assert "ENDED" in capsys.readouterr().out


def test_up_over_half_a_lab_says_what_to_do(
    directory: StateDirectory, sleeper: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("up", directory) == 1
    assert "python -m lab down" in capsys.readouterr().err
    assert sleeper.is_alive()


def test_down_ends_what_is_recorded(directory: StateDirectory, sleeper: Process) -> None:
    assert run("down", directory) == 0
    assert not sleeper.is_alive()
    assert directory.read() is None


def test_down_spares_a_process_that_inherited_a_pid(directory: StateDirectory, sleeper: Process) -> None:
    older = Process("older", sleeper.pid, sleeper.started - 1, sleeper.log)
    record = directory.read()
    assert record is not None
    directory.write(record | {"processes": {"older": older.record()}})
    assert run("down", directory) == 0
    assert sleeper.is_alive()


def test_one_command_at_a_time(
    directory: StateDirectory, sleeper: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    with (directory.path / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run("down", directory) == 1
    assert "at work" in capsys.readouterr().err
    assert sleeper.is_alive()


def test_files_that_no_lab_made_are_not_removed(
    directory: StateDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = directory.logs / "mine.log"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear")
    monkeypatch.setattr("lab.cli.find_prometheus", lambda: Path("unused"))
    assert run("up", directory) == 1
    assert "not made by a lab" in capsys.readouterr().err
    assert mine.read_text() == "dear"


def test_the_record_is_replaced_whole(directory: StateDirectory) -> None:
    directory.write({"ready": False})
    directory.write({"ready": True})
    assert json.loads(directory.record_file.read_text()) == {"ready": True}
    assert [entry.name for entry in directory.path.iterdir()] == ["lab.json"]


@pytest.mark.parametrize("text", ["0", "60", "1e3", "2000", "2000.1", "-5", "nan", "inf", "x", ""])
def test_a_rate_is_refused_before_anything_is_started_if_the_load_generator_would_refuse_it(
    text: str,
) -> None:
    def taken(read: Callable[[str], float]) -> float | None:
        try:
            return read(text)
        except (ValueError, argparse.ArgumentTypeError):
            return None

    assert taken(rate) == taken(generator_s)
