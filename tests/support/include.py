"""A copy of the project's include/ that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.plans import INCLUDE


def copy_of_include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From now on the pipeline reads its files from this copy."""
    folder = tmp_path / "include"
    shutil.copytree(INCLUDE, folder)
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(folder))
    return folder


def edit(path: Path, **changes: Any) -> dict[str, Any]:
    """Change a YAML file: what is a mapping there and in `changes` is merged, one level deep."""
    value: dict[str, Any] = yaml.safe_load(path.read_text())
    for key, change in changes.items():
        merge = isinstance(change, dict) and isinstance(value.get(key), dict)
        value[key] = value[key] | change if merge else change
    path.write_text(yaml.safe_dump(value))
    return value
