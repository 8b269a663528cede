"""The whole suite: a live lab and what it is made of beside the rest, then chaos, which wants to be alone.

`python -m tests [--fast] [pytest's options]`. `--fast`: the property tests and the unit tests alone. Of two
pytest processes side by side the second writes to the terminal; then the output of the first follows. Where
the options name files or folders, one pytest runs those.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

FAST = "--fast"
CORE, EDGE = ("tests/property", "tests/unit/core"), ("tests/unit", "--ignore=tests/unit/core")
LAB = ("tests/e2e", "tests/lab")  # together as long as the rest
CHAOS = ("tests/chaos",)
CACHE = ".pytest_cache/lab"  # its own, so that neither forgets what failed in the other
INTERRUPTED, NOTHING_SELECTED = 2, 5  # statuses of pytest
POLL = 0.2


def main(options: Sequence[str]) -> int:
    """The exit status: the worst of all; NOTHING_SELECTED only if none selected a test."""
    fast, options = FAST in options, [each for each in options if each != FAST]
    if any(Path(option.partition("::")[0]).exists() for option in options):
        return subprocess.call(_pytest(*options))
    rest = tuple(f"--ignore={each}" for each in (*LAB, *CHAOS))
    statuses = _beside(*((CORE, EDGE) if fast else (LAB, rest)), options)
    if not fast and not any(status < 0 or status == INTERRUPTED for status in statuses):
        statuses.append(_alone(CHAOS, options))
    failures = set(statuses) - {0, NOTHING_SELECTED}
    nothing = set(statuses) == {NOTHING_SELECTED}
    return max(failures, key=abs) if failures else NOTHING_SELECTED * nothing


def _beside(own: Sequence[str], others: Sequence[str], options: Sequence[str]) -> list[int]:
    """The statuses of two pytests at the same time."""
    colour = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
    with tempfile.TemporaryFile() as output:
        lab = _start(_pytest(*own, colour, "-o", f"cache_dir={CACHE}", *options), output)
        rest = _start(_pytest(*others, *options), None)
        _pass_on_to(lab, rest)
        rest.wait()
        print(f"\n== {' '.join(own)} ==", flush=True)
        _follow(lab, output)
    return [rest.returncode, lab.returncode]


def _alone(tests: Sequence[str], options: Sequence[str]) -> int:
    print(f"\n== {' '.join(tests)} ==", flush=True)
    running = _start(_pytest(*tests, *options), None)
    _pass_on_to(running)
    return running.wait()


def _pass_on_to(*running: subprocess.Popen[bytes]) -> None:
    """From now on these hear of a Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _interrupt(*running))


def _pytest(*options: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *options]


def _start(argv: Sequence[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """In a process group of its own: of a Ctrl-C it hears once, through `_interrupt`."""
    return subprocess.Popen(argv, stdout=output, stderr=output, process_group=0)


def _interrupt(*running: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does: pytest then ends what its fixtures started."""
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)


def _follow(process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    """Show what a process has written so far, and on to its end."""
    position, over = 0, False
    while not over:
        over = process.poll() is not None
        text = _written_since(output, position)
        position += len(text)
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
        time.sleep(0 if over else POLL)


def _written_since(output: IO[bytes], position: int) -> bytes:
    """The file's offset is shared with the process that writes to it, so it is not moved."""
    return os.pread(output.fileno(), os.fstat(output.fileno()).st_size - position, position)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
