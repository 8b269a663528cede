"""A step's record: whole where it will be stored, its newest lines in memory."""

from __future__ import annotations

import errno
import json
from tempfile import TemporaryFile
from typing import IO

import pytest

from inference_rollouts.core.judging.decision_record import BOUND
from inference_rollouts.rollout import record_file
from inference_rollouts.rollout.record_file import RecordFile
from tests.support.fake_storage import FakeStorage

HEAD = '{"kind":"step"}'
LINES = [json.dumps({"kind": "observation", "number": number, "text": "x" * 1000}) for number in range(500)]


def recorded(*, whole: bool) -> RecordFile:
    record = RecordFile(HEAD, whole=whole)
    for line in LINES:
        record.add(line)
    return record


def stored(record: RecordFile) -> list[str]:
    storage = FakeStorage()
    record.store(storage, "mem://runs", "step_1.jsonl")
    return storage.files["mem://runs/step_1.jsonl"].splitlines()


def test_all_of_it_is_stored_and_the_newest_lines_are_in_memory() -> None:
    record = recorded(whole=True)
    assert stored(record) == [HEAD, *LINES]
    lines = record.newest.lines
    assert (lines[0], lines[-1]) == (HEAD, LINES[-1])
    assert BOUND - 2000 < sum(len(line) + 1 for line in lines) <= BOUND


def test_what_is_not_stored_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "TemporaryFile", lambda *_, **__: pytest.fail("a file"))
    assert recorded(whole=False).newest.lines[-1] == LINES[-1]


def test_a_full_disk_costs_the_older_lines_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:

    def full(*args: str, **options: str) -> IO[str]:
        file: IO[str] = TemporaryFile(*args, **options)  # type: ignore[call-overload]  # noqa: SIM115
        write, room = file.write, [100 * 1000]

        def limited(text: str) -> int:
            room[0] -= len(text)
            if room[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(text)

        monkeypatch.setattr(file, "write", limited)
        return file

    monkeypatch.setattr(record_file, "TemporaryFile", full)
    record = recorded(whole=True)
    assert stored(record) == record.newest.lines
    assert caplog.text.count("the decision record is not kept whole") == 1


def test_without_a_place_for_files_the_newest_lines_are_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere(*_: object, **__: object) -> IO[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(record_file, "TemporaryFile", nowhere)
    record = recorded(whole=True)
    assert stored(record) == record.newest.lines
    assert caplog.text.count("the decision record is not kept whole") == 1


def test_what_was_to_be_written_may_fail_as_late_as_when_it_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lazy(*args: str, **options: str) -> IO[str]:
        file: IO[str] = TemporaryFile(*args, **options)  # type: ignore[call-overload]  # noqa: SIM115

        def full(_: int) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(file, "seek", full)
        return file

    monkeypatch.setattr(record_file, "TemporaryFile", lazy)
    record = recorded(whole=True)
    assert stored(record) == record.newest.lines
