"""Which policies and steps there are, and which fit no metric set."""

from typing import Any

import pytest
from pydantic import ValidationError

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.policy import LEAST_CHANCE, Step
from tests.support.judging import (
    SET,
    judged,
    policy,
    quiet_windows,
    step,
)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, []),
        ({"tolerances": {"nothing": 1}}, ["no metric 'nothing'"]),
        ({"margin": 0.1}, ["'errors'", "'ttft'"]),
        ({"margin": None, "tolerances": {"errors": 5}}, []),
        ({"margin": 2, "tolerances": {"errors": 5}}, ["tolerance 5 of 'errors'"]),
    ],
)
def test_policies_that_do_not_fit_are_named(rules: dict[str, Any], words: list[Any]) -> None:
    problems = judge.problems(policy(**rules), SET)
    assert len(problems) == len(words)
    assert all(phrase in problem for phrase, problem in zip(words, problems, strict=True))


def test_the_least_chance_that_may_be_wanted_can_be_judged_by() -> None:
    rules = {"alpha": LEAST_CHANCE, "beta": LEAST_CHANCE}
    judgement = judged(quiet_windows(6), rules=rules, step=step(last_compared=True))
    assert judgement.alarm_at == pytest.approx(1 / LEAST_CHANCE)


@pytest.mark.parametrize(
    "rules",
    [
        *({"alpha": value} for value in (0, 5e-324, 0.5, float("nan"))),
        *({"kappa": value} for value in (0, 1.5, "guess")),
        *({"interval": value} for value in (0, -1, "soon")),
        {"kappa_bounds": (0.9, 0.1)},
        {"on_timeout": "pray"},
        {"margin": 0},
        {"surprise": 1},
    ],
)
def test_nonsense_is_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**rules)


def test_the_steps_of_a_plan() -> None:
    planned = [Step(weight=weight, bake=60) for weight in (5, 50, 100)]
    steps = [judge.StepContext.of(planned, i, started_at=7.0, initial_delay=3.0) for i in (1, 2, 3)]
    assert [s.weight for s in steps] == [5, 50, 100]
    assert [s.last_compared for s in steps] == [False, True, False]
    assert [s.compared for s in steps] == [True, True, False]
    assert (steps[0].anchor, steps[0].baked_at) == (10, 70)
    assert not judge.StepContext.of(
        [Step(weight=100, bake=0)], 1, started_at=0, initial_delay=0
    ).last_compared


@pytest.mark.parametrize(
    ("weights", "last"), [((5, 50, 100), [False, False, True, False]), ((100,), [True, False])]
)
def test_a_mirror_is_compared_and_the_last_only_where_no_weight_is(
    weights: tuple[Any, ...], last: list[Any]
) -> None:
    planned = [Step(weight=0, mirror=25, bake=60), *(Step(weight=weight, bake=60) for weight in weights)]
    steps = [
        judge.StepContext.of(planned, i, started_at=7.0, initial_delay=3.0)
        for i in range(1, len(planned) + 1)
    ]
    assert [step.last_compared for step in steps] == last
    assert (steps[0].compared, steps[0].share, str(steps[0])) == (True, 0.2, "25 % mirrored")
