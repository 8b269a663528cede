"""Airflow's object storage: what cannot be read is named, what cannot be written stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.hooks.storage import ObjectStorage
from tests.support.stopwatch import ends_within

STORAGE = ObjectStorage()


def test_a_json_object_is_read_by_url_or_path(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"r": 8}')
    assert STORAGE.read_json(f"file://{path}") == STORAGE.read_json(str(path)) == {"r": 8}


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PlanInvalid) as caught:
        STORAGE.read_json(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_written_below_a_folder(tmp_path: Path) -> None:
    STORAGE.write(f"file://{tmp_path}/records", "step_1.jsonl", "{}\n")
    assert (tmp_path / "records" / "step_1.jsonl").read_text() == "{}\n"


def test_a_place_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    STORAGE.write("file:///dev/null/records", "step_1.jsonl", "{}\n")
    assert "could not write step_1.jsonl" in caplog.text


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.hooks.storage.STORED_BYTES", 10)
    (tmp_path / "config.json").write_text('{"r": 8, "x": 1}')
    with pytest.raises(PlanInvalid, match="larger than 10 bytes"):
        STORAGE.read_json(f"file://{tmp_path}/config.json")


def test_a_storage_that_hangs_is_left_at_the_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a pipe does at whose other end nobody is."""
    storage = ObjectStorage(timeout=0.2)
    for name in ("read", "written"):
        os.mkfifo(tmp_path / name)
    with ends_within(4):
        with pytest.raises(PlanInvalid, match=r"read cannot be read: .* within 0\.2 s"):
            storage.read_json(f"file://{tmp_path}/read")
        storage.write(f"file://{tmp_path}", "written", ["{", "}\n"])
    assert "could not write written" in caplog.text
    for name in ("read", "written"):
        os.close(os.open(tmp_path / name, os.O_RDWR))
