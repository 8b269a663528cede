"""What one run may change of its plan."""

from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.form import form_of
from inference_rollouts.core.run.parameters import apply_parameters, override_of
from tests.support.plans import food_review_plan, llm_plan


def test_parameters_override_and_empty_ones_do_not() -> None:
    plan = llm_plan()
    same = apply_parameters(plan, {"image": None, "bake": None, "weights": None})
    assert same == plan
    changed = apply_parameters(plan, {"image": "a/b:1", "model": "m", "weights": [1, 100], "bake": "8s"})
    assert isinstance(changed, PoolPlan)
    assert (changed.workload.image, changed.workload.model) == ("a/b:1", "m")
    assert [(step.weight, step.bake) for step in changed.steps] == [(1, 8), (100, 8)]
    assert changed.workload.replicas == plan.workload.replicas


FALLBACK = [
    {"accelerator": "nvidia-h200-141gb", "count": 8, "machine_type": "a3-ultragpu-8g"},
    {"accelerator": "nvidia-h100-80gb", "count": 8, "machine_type": "a3-highgpu-8g"},
]


@pytest.mark.parametrize("accelerator", [None, "nvidia-h200-141gb"])
def test_the_form_s_default_keeps_the_machines_to_fall_back_to(accelerator: str | None) -> None:
    plan = llm_plan(nodes={"provisioner": "compute-class", "machines": FALLBACK})
    assert form_of(plan)["accelerator"].default == "nvidia-h200-141gb"
    assert apply_parameters(plan, {"accelerator": accelerator}).as_pool_plan.nodes == plan.nodes


def test_all_that_the_form_offers_by_default_changes_nothing() -> None:
    for nodes in (llm_plan().nodes, {"provisioner": "compute-class", "machines": FALLBACK}):
        plan = llm_plan(nodes=nodes)
        assert apply_parameters(plan, {name: each.default for name, each in form_of(plan).items()}) == plan


def test_weights_keep_the_bake_time_of_their_place() -> None:
    plan = apply_parameters(llm_plan(), {"weights": [1, 2, 100]})
    assert [(step.weight, step.bake) for step in plan.steps] == [(1, 300), (2, 300), (100, 600)]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"weights": [0]}, "weights.0: Input should be greater than or equal to 1 (given '0')."),
        ({"weights": []}, "weights: Tuple should have at least 1 item"),
        (
            {"weights": [1, 2, 3, 4, 100]},
            "weights has 5 steps, this plan's DAG has 4; add steps to the plan.",
        ),
        ({"weights": [0.5, 100]}, "weights.0: Input should be a valid integer"),
        ({"weights": [50, 20]}, "weights [50, 20] must rise step by step and end at 100."),
        ({"canary": "A b"}, "canary: must be letters, digits and any of - . _ / : @ +"),
        ({"canary": "A"}, "canary: must be at most 53 lower-case letters, digits and hyphens"),
        ({"image": "a b"}, "image: must be one word, without blanks (given 'a b')."),
        ({"override_windows": ""}, "override_windows: must say something (given '')."),
        ({"override_windows": " \t"}, "override_windows: must say something (given ' \\t')."),
        ({"bake": "soon"}, "bake: 'soon' is not a duration; write it like 90s, 5m or 1h30m."),
    ],
)
def test_a_bad_value_is_explained_in_words(params: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        apply_parameters(llm_plan(), params)
    assert str(caught.value).startswith(f"The parameters are invalid: {words}")


@pytest.mark.parametrize("name", ["org/sql", "sql:v1.2", "org/sql@2026-10", "sql:1.2+build.7"])
def test_an_adapter_is_named_as_clients_name_it(name: str) -> None:
    assert apply_parameters(food_review_plan(), {"canary": name}).canary == name


def test_an_override_of_windows_changes_no_plan_and_needs_a_reason() -> None:
    plan = llm_plan()
    assert apply_parameters(plan, {"override_windows": "an incident"}) == plan
    assert override_of({"override_windows": "an incident"}) == "an incident"
    assert override_of({"override_windows": None}) == override_of({}) == ""
    with pytest.raises(PlanInvalid, match="override_windows"):
        apply_parameters(plan, {"override_windows": ""})
