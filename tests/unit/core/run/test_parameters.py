"""What one run may change of its plan."""

from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.parameters import apply_parameters
from tests.support.plans import llm_plan


def test_parameters_override_and_empty_ones_do_not() -> None:
    plan = llm_plan()
    same = apply_parameters(plan, {"image": None, "bake": None, "weights": None})
    assert same == plan
    changed = apply_parameters(plan, {"image": "a/b:1", "model": "m", "weights": [1, 100], "bake": "8s"})
    assert isinstance(changed, PoolPlan)
    assert (changed.workload.image, changed.workload.model) == ("a/b:1", "m")
    assert [(step.weight, step.bake) for step in changed.steps] == [(1, 8), (100, 8)]
    assert changed.workload.replicas == plan.workload.replicas


def test_weights_keep_the_bake_time_of_their_place() -> None:
    plan = apply_parameters(llm_plan(), {"weights": [1, 2, 100]})
    assert [(step.weight, step.bake) for step in plan.steps] == [(1, 300), (2, 300), (100, 600)]
