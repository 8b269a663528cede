"""The benchmark of parsing measures plans that Airflow would get, and shows all that it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.parsing import FILES, Cost, Pass, imports_table, parsing_table, plans_in
from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.plan.files import accept

SPENT = {"seconds": 0.25, "megabytes": 12.0, "modules": 3, "packages": ["a", "b"]}


def test_its_plans_are_all_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(plans_in(tmp_path, 7)))
    plans, refused = accept(load_plans())
    assert not refused
    assert len({plan.dag_id for plan in plans}) == 7
    assert {plan.kind.value for plan in plans} == {"node", "base-model", "lora"}


def test_its_tables_have_a_row_for_each_version_and_number_of_plans() -> None:
    parses = {name: {"seconds": number + 0.5, "peak": 99.0} for number, name in enumerate(FILES)}
    start = {"ours": 0.004, "imports": SPENT, "kubernetes": SPENT}
    costs = [Cost(plans, parses, Pass(7.0, 200.0, 2 * plans), start) for plans in (1, 1000)]
    table = parsing_table({"before": costs, "now": costs}).splitlines()
    assert (
        table[-1] == "| 1,000 | now | 0.50 s | 1.50 s | 2.50 s | 99 MB | 7.0 s | 200 MB | 2,000 DAGs | 4 ms |"
    )
    assert len(table) == 2 + 4
    assert len({row.count("|") for row in table}) == 1
    table = imports_table({"before": costs, "now": costs}).splitlines()
    assert table[-1] == "| to reach the cluster | now | 250 ms | 12 MB | 3 | a, b |"
    assert len({row.count("|") for row in table}) == 1
