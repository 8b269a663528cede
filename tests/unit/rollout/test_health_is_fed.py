"""Every field of Health is set by an observation: a guardrail that nothing feeds guards nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import inference_rollouts.rollout
from inference_rollouts.core.judging.policy import Health

FOLDER = Path(inference_rollouts.rollout.__file__).parent


def fed() -> Iterator[str]:
    """Names that are given to Health, or put into a copy of one."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "Health":
                yield from (keyword.arg for keyword in node.keywords if keyword.arg)
            if isinstance(node.func, ast.Attribute) and node.func.attr == "model_copy":
                updates = [keyword.value for keyword in node.keywords if keyword.arg == "update"]
                keys = [key for update in updates if isinstance(update, ast.Dict) for key in update.keys]
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


@pytest.mark.parametrize("field", Health.model_fields)
def test_an_observation_sets_it(field: str) -> None:
    assert field in set(fed())
