"""The command that says what a plan's steps can see."""

from __future__ import annotations

import pytest

from inference_rollouts.power import main
from tests.support.plans import ROLLOUTS


def test_the_power_of_a_plan_is_printed_without_starting_anything(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROLLOUTS / "llm.yaml"
    assert main([str(path), "--rate", "1"]) == 1
    assert "| step | weight |" in capsys.readouterr().out
    assert main([str(path), "--rate", "2000", "--bad", "0.05"]) == 0
    assert main([str(path.parent / "nothing.yaml")]) == 2
