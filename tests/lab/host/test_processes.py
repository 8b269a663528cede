"""Processes are ended for certain, and never a stranger that inherited a pid."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.host import processes
from lab.host.processes import Process, ProcessError
from tests.support.stopwatch import ends_within

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, sys, time; "
    f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print(child.pid, flush=True); "
)


class Starter:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Process] = []

    def __call__(self, code: str) -> Process:
        log = self.folder / f"{len(self.started)}.log"
        process = processes.start("sleeper", [sys.executable, "-c", code], log)
        self.started.append(process)
        wait_for(lambda: log.read_text().strip())
        return process


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    processes.stop(starter.started, patience=0)


def test_a_process_is_alive_until_it_is_stopped(start: Starter) -> None:
    process = start(SLEEP)
    assert process.is_alive()
    processes.stop([process])
    assert not process.is_alive()


def test_a_record_finds_the_process_again(start: Starter) -> None:
    process = start(SLEEP)
    assert Process.from_record("sleeper", process.record()) == process


def test_one_that_ignores_term_is_killed(start: Starter) -> None:
    process = start(STUBBORN + "time.sleep(600)")
    with ends_within(5):
        processes.stop([process], patience=0.3)
        assert not process.is_alive()


def test_a_process_that_inherited_the_pid_is_left_alone(start: Starter) -> None:
    stranger = start(SLEEP)
    recorded = replace(stranger, started=stranger.started - 1)
    assert not recorded.is_alive()
    processes.stop([recorded], patience=0.3)
    assert stranger.is_alive()


def test_what_it_started_ends_with_it(start: Starter) -> None:
    process = start(WITH_CHILD + "time.sleep(600)")
    child = int(process.log.read_text().split()[0])
    processes.stop([process])
    assert not is_running(child)


def test_what_it_left_behind_is_ended_too(start: Starter) -> None:
    process = start(WITH_CHILD)
    child = int(process.log.read_text().split()[0])
    wait_for(lambda: not process.is_alive())
    assert is_running(child)
    processes.stop([process])
    assert not is_running(child)


def test_a_zombie_is_not_alive(start: Starter) -> None:
    process = start(SLEEP)
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.is_alive())


def test_an_ended_process_is_reported_with_the_end_of_its_log(start: Starter) -> None:
    process = start("print('port 80 is taken', flush=True)")
    wait_for(lambda: not process.is_alive())
    with pytest.raises(ProcessError, match="port 80 is taken"):
        process.check_alive()


def test_memory_counts_children(start: Starter) -> None:
    alone, family = start(SLEEP), start(WITH_CHILD + "time.sleep(600)")
    wait_for(lambda: processes.resident_bytes([family]) > processes.resident_bytes([alone]))


def test_cpu_time_is_that_of_a_session(start: Starter) -> None:
    busy = start("print('up', flush=True)\nwhile True: pass")
    wait_for(lambda: processes.cpu_seconds([busy]) > 0.1)
    assert processes.cpu_seconds([]) == 0


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
