"""Which DAGs come of plan files whose DAGs would have one id, or that are not valid."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inference_rollouts.clients import include
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.files import Refused, accept
from inference_rollouts.core.plan.plan import Plan, parse_plan
from tests.support.plans import ROOT

VALUE = yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text())


def plan(name: str) -> Plan:
    return parse_plan(VALUE | {"name": name})


def test_plans_with_ids_of_their_own_are_all_built() -> None:
    one, two = plan("a-b"), plan("ab")
    assert accept([("a-b", one), ("ab", two)]) == ([one, two], [])


def test_two_valid_plans_with_one_dag_id_are_both_refused_and_each_names_the_other() -> None:
    plans, refused = accept([("a-b", plan("a-b")), ("A-b", plan("a-b"))])
    assert plans == []
    assert refused == [
        Refused(
            "rollout_a_b",
            "a-b.yaml makes the same DAG as A-b.yaml: rename one of them. "
            "A-b.yaml makes the same DAG as a-b.yaml: rename one of them.",
            "a-b",
        )
    ]


def test_an_invalid_plan_takes_away_no_valid_one_s_dag_and_is_still_shown() -> None:
    good = plan("a-b")
    for files in ([("a-b", good), ("a_b", PlanInvalid("No."))], [("A.b", PlanInvalid("No.")), ("a-b", good)]):
        assert accept(files) == ([good], [Refused("invalid_a_b", "No.", files[0][0])])


def test_of_invalid_plans_with_one_dag_id_every_mistake_is_shown_where_the_plan_would_be() -> None:
    files = [("a_b", PlanInvalid("One.")), ("a-b", PlanInvalid("Two."))]
    assert accept(files) == ([], [Refused("rollout_a_b", "One. Two.", "a_b")])


def test_the_name_of_a_file_may_be_as_long_as_file_names_can_be() -> None:
    [refused] = accept([("n" * 250, PlanInvalid("No."))])[1]
    assert len(refused.dag_id) < 250


def test_a_file_that_is_no_plan_is_a_mistake_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rollouts"
    folder.mkdir()
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    (folder / "date.yaml").write_text("name: 2026-99-99")
    (folder / "llm.yaml").write_text(yaml.safe_dump(VALUE))
    (folder / "other.yaml").write_text(yaml.safe_dump(VALUE))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(tmp_path))
    loaded = dict(include.load_plans())
    wrong = {name: str(plan) for name, plan in loaded.items() if isinstance(plan, PlanInvalid)}
    assert list(wrong) == ["bytes", "date", "other"]
    assert all(mistake.startswith(f"{name}.yaml: ") for name, mistake in wrong.items())
    good = loaded["llm"]
    assert not isinstance(good, PlanInvalid)
    assert good.name == "llm"
