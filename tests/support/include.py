"""A copy of the project's include/ that a test may change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.plans import INCLUDE, plan_file


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


def named_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: dict[str, Any]) -> Path:
    """From now on there are these plans alone: by name (`_` for `-`), each the plan llm with changes."""
    folder = tmp_path / "rollouts"
    folder.mkdir()
    for name, change in changes.items():
        value = plan_file("llm") | {"name": name.replace("_", "-")} | change
        (folder / f"{name.replace('_', '-')}.yaml").write_text(yaml.safe_dump(value))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(tmp_path))
    return folder
