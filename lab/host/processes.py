"""Long-lived processes: start one in a session of its own, know it again later, end it for certain.

A pid alone does not name a process, because the kernel uses pids again. A pid and the moment its
process started do, so both are recorded and compared before anything is signalled.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Children of this interpreter stay zombies until they are polled; children of an earlier one are init's.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


class ProcessError(Exception):
    """A process ended, or did not become healthy in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Process:
    """A started process, the leader of its own session. `started` is in clock ticks since boot."""

    name: str
    pid: int
    started: int
    log: Path

    def record(self) -> dict[str, Any]:
        """What to write down to find this process again."""
        return {"pid": self.pid, "started": self.started, "log": str(self.log)}

    @classmethod
    def from_record(cls, name: str, record: Mapping[str, Any]) -> "Process":
        """The process that `record` describes, whether it still runs or not."""
        return cls(name, int(record["pid"]), int(record["started"]), Path(record["log"]))

    def is_alive(self) -> bool:
        """True while this very process runs; false for a zombie or another process with its pid."""
        if child := _children.get(self.pid):
            child.poll()
        stat = _stat(self.pid)
        return stat is not None and stat.state not in "ZX" and stat.started == self.started

    async def succeeded(self) -> None:
        """Wait for the end of a process that this interpreter started; ProcessError if it failed."""
        if await asyncio.to_thread(_children[self.pid].wait):
            raise self.failure("failed")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines it wrote, for an error message."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def failure(self, what: str) -> ProcessError:
        """An error that says what happened to this process, with the end of its log."""
        return ProcessError(f"{self.name} {what}; the end of {self.log}:\n{self.log_tail()}")

    def check_alive(self) -> None:
        """Raise ProcessError if it has ended."""
        if not self.is_alive():
            raise self.failure("ended")


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    state: str
    session: int
    started: int
    cpu: int  # clock ticks, in user and kernel


def start(
    name: str,
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start `argv` as the leader of a new session, with both outputs in `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    _children[child.pid] = child
    stat = _stat(child.pid)
    if stat is None:
        raise ProcessError(f"{name} vanished as it started")
    return Process(name, child.pid, stat.started, log)


def stop(processes: Iterable[Process], *, patience: float = 10.0) -> None:
    """End these processes and everything in their sessions: TERM, and KILL after `patience` seconds."""
    leaders = list(processes)
    _signal(leaders, signal.SIGTERM)
    if _wait_gone(leaders, patience):
        return
    _signal(leaders, signal.SIGKILL)
    if not _wait_gone(leaders, 5.0):
        names = ", ".join(p.name for p in leaders if _members([p]))
        raise ProcessError(f"still running after KILL: {names}")


def resident_bytes(processes: Iterable[Process]) -> int:
    """Memory of these processes and their sessions, shared pages divided among their users."""
    return sum(_proportional_bytes(stat.pid) for stat in _members(list(processes)))


def cpu_seconds(processes: Iterable[Process]) -> float:
    """CPU time that these processes and their sessions have taken; of what has ended nothing is known."""
    return sum(stat.cpu for stat in _members(list(processes))) / os.sysconf("SC_CLK_TCK")


def _signal(leaders: list[Process], number: signal.Signals) -> None:
    for stat in _members(leaders):
        try:
            os.kill(stat.pid, number)
        except ProcessLookupError:
            continue


def _wait_gone(leaders: list[Process], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        over = (
            time.monotonic() > deadline
        )  # looked at first: what ended by then is gone, however late we look
        if not _members(leaders):
            return True
        if over:
            return False
        time.sleep(0.05)


def _members(leaders: list[Process]) -> list[_Stat]:
    """Whatever still runs in the sessions of these leaders.

    While a session has members the kernel gives its number to no other process, so a session
    led by a stranger means that ours is gone.
    """
    ours = {}
    for leader in leaders:
        if child := _children.get(leader.pid):
            child.poll()
        stat = _stat(leader.pid)
        if stat is None or stat.started == leader.started:
            ours[leader.pid] = leader.started
    return [
        stat
        for stat in _all_stats()
        if stat.session in ours and stat.state not in "ZX" and stat.started >= ours[stat.session]
    ]


def _all_stats() -> Iterator[_Stat]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))):
            yield stat


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return _Stat(pid, fields[0], int(fields[3]), int(fields[19]), int(fields[11]) + int(fields[12]))


def _proportional_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
