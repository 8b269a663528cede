"""How long a rollout would take, and how it is told."""

from __future__ import annotations

from inference_rollouts.core.reporting.forecast import Change, Forecast, headline, longest, markdown
from tests.support.plans import llm_plan

STEPS = [{"weight": 50, "bake": "5m"}, {"weight": 100, "bake": "10m"}]
DEADLINES = {"nodes": "10m", "ready": "20m", "warm_up": "5m", "route": "1m"}


def forecast(**changes: object) -> Forecast:
    plan = llm_plan(
        steps=STEPS,
        initial_delay="30s",
        deadlines=DEADLINES,
        analysis={"progress_deadline": "15m"},
        **changes,
    )
    change = Change("HTTPRoute route", "to change", ("- a: 1", "+ a: 2"))
    return Forecast(plan, 0.0, (change,), ("InferencePool llm-pool",), "| power |", ("Step 1 is short.",))


def test_the_steps_take_their_delays_and_bake_times() -> None:
    assert forecast().expected == 30 + 300 + 30 + 600


def test_the_latest_end_is_that_of_all_deadlines() -> None:
    preparation = (10 + 20 + 1 + 5 + 1) * 60
    steps = 2 * (30 + 15 * 60 + 60 + 60) + 300 + 600
    assert longest(forecast().plan) == preparation + steps


def test_who_is_asked_may_take_their_time() -> None:
    asking = forecast(approvals={"steps": [100], "timeout": "1h"})
    assert longest(asking.plan) == longest(forecast().plan) + 3600


def test_it_says_first_that_nothing_was_written() -> None:
    assert headline(forecast()) == (
        "**llm-pool -> llm-pool-version-2: dry run**, nothing was written. 0 objects to create, 1 to change. "
        "The steps take 16 min if all goes well; it ends by 1970-01-01 01:27 UTC at the latest."
    )
    text = markdown(forecast())
    assert text.startswith(headline(forecast()))
    assert "| 2 | 100 % | 30 s | 10 min | 26 min 30 s |" in text
    for part in (
        "| power |",
        "Warning: Step 1 is short.",
        "- a: 1\n+ a: 2",
        "- stays: InferencePool llm-pool",
    ):
        assert part in text
