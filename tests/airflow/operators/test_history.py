"""Whose word ended a step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.operators.history import ANSWERED_BY, verdict_of

JUDGEMENT = {"step": 2, "reason": "promote_now by anna: hurry. The judge had concluded: Baking."}


def context(people: dict[str, str]) -> Any:
    def pull(task_ids: str, key: str) -> str | None:
        return people.get(task_ids) if key == ANSWERED_BY else None

    return {"ti": SimpleNamespace(xcom_pull=pull)}


@pytest.mark.parametrize(
    ("people", "by"),
    [
        ({}, "the judge of step 2"),
        ({"step_2.judge": "anna"}, "anna"),
        ({"step_2.ask": "ben"}, "ben"),
        ({"step_1.ask": "ben"}, "the judge of step 2"),
    ],
)
def test_a_person_who_hurried_or_answered_is_named(people: dict[str, str], by: str) -> None:
    said = verdict_of(context(people), JUDGEMENT)
    assert (said.why, said.by) == (JUDGEMENT["reason"], by)
