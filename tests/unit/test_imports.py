"""The import check finds what it is there to find."""

from pathlib import Path

import pytest

from tests.imports import violations


def plant(root: Path, file: str, code: str) -> list[str]:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    return list(violations(root))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("plugins/inference_rollouts/core/judge.py", "import kubernetes"),
        ("plugins/inference_rollouts/core/judge.py", "import yaml"),
        ("plugins/inference_rollouts/core/judge.py", "from airflow.sdk import dag"),
        ("plugins/inference_rollouts/core/judge.py", "def f():\n    import requests"),
        ("plugins/inference_rollouts/core/judge.py", "from inference_rollouts.hooks import cluster"),
        ("plugins/inference_rollouts/core/judge.py", "from ..hooks.cluster import get"),
        ("plugins/inference_rollouts/core/__init__.py", "from .. import hooks"),
        ("plugins/inference_rollouts/hooks/cluster.py", "import inference_rollouts.operators.shift"),
        ("plugins/inference_rollouts/triggers/judge.py", "from inference_rollouts.dag import build"),
        ("plugins/inference_rollouts/hooks/cluster.py", "from inference_rollouts.cli import replay"),
        ("plugins/inference_rollouts/dag.py", "import lab.kube"),
        ("plugins/inference_rollouts_plugin.py", "import lab"),
        ("dags/inference_rollouts.py", "from lab import kube"),
        ("lab/kube.py", "from inference_rollouts.core import route"),
        ("lab/demo/story.py", "import airflow.sdk"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, code: str) -> None:
    found = plant(tmp_path, file, code)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:{code.count(chr(10)) + 1}: ")


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (
            "plugins/inference_rollouts/core/judge.py",
            "import math\nimport numpy as np\nfrom .counts import Counts",
        ),
        (
            "plugins/inference_rollouts/core/plan.py",
            "from pydantic import Field\nfrom numpy.linalg import norm",
        ),
        (
            "plugins/inference_rollouts/hooks/cluster.py",
            "import kubernetes\nfrom inference_rollouts.core import x",
        ),
        ("plugins/inference_rollouts/operators/shift.py", "from ..triggers.ready import ReadyTrigger"),
        ("plugins/inference_rollouts/dag.py", "from inference_rollouts.sensors import judge"),
        ("plugins/inference_rollouts/cli/replay.py", "from inference_rollouts.core import judge"),
        ("dags/inference_rollouts.py", "from inference_rollouts.dag import build"),
        ("lab/demo/story.py", "from lab.airflow import Airflow\nfrom . import view"),
    ],
)
def test_an_import_along_the_chain_is_allowed(tmp_path: Path, file: str, code: str) -> None:
    assert plant(tmp_path, file, code) == []
