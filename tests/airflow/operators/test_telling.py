"""What tasks tell of where their rollout is holds nothing up."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.reporting.status import Status, preparing
from inference_rollouts.operators.base import tell
from inference_rollouts.triggers.publishing import STATUS
from tests.support.airflow import Told
from tests.support.steps import Step


def test_a_status_is_an_xcom_and_one_that_nobody_knows_is_none() -> None:
    frozen = Step(upto=0).run.frozen
    told = Told()
    context: Any = {"ti": told}

    def unknown() -> Status:
        raise ConnectionError("refused")

    tell(context, unknown)
    assert not told.pushed
    tell(context, lambda: preparing(frozen, "warming up"))
    assert told.pushed[STATUS]["headline"] == "0 % (before step 1 of 2) - warming up"
