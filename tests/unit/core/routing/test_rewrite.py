"""Which names a rewrite knows, and which object splits an alias."""

from typing import Any

import pytest

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.routing.rewrite import check_target, named_in, select_target
from tests.support.routes import rewrite

MODEL = {
    "kind": "InferenceModel",
    "spec": {"modelName": "food", "targetModels": [{"name": "v1", "weight": 100}]},
}


@pytest.mark.parametrize("name", ["food", "v1"])
def test_names_that_clients_may_ask_for_or_be_sent_to(name: str) -> None:
    assert named_in(rewrite("food", "v1"), name)
    assert named_in(MODEL, name)
    assert not named_in(rewrite("food", "v1"), "v2")
    assert not named_in(MODEL, "v2")


def test_a_rewrite_of_everything_names_its_targets_only() -> None:
    obj = rewrite("food", "v1")
    del obj["spec"]["rules"][0]["matches"]
    assert named_in(obj, "v1")
    assert not named_in(obj, "food")


@pytest.mark.parametrize("match", [{}, {"headers": [{"name": "x", "value": "y"}]}, {"model": None}])
def test_a_match_without_a_model_asks_for_none(match: Any) -> None:
    obj = rewrite("food", "v1")
    obj["spec"]["rules"][0]["matches"].append(match)
    assert named_in(obj, "food")
    assert not named_in(obj, "v2")


def model(target: Any, weight: Any = None) -> dict[str, Any]:
    entry = {"name": target} if weight is None else {"name": target, "weight": weight}
    spec = {"modelName": "food-review", "poolRef": {"name": "llm-pool"}, "targetModels": [entry]}
    return {"kind": "InferenceModel", "metadata": {"name": "food"}, "spec": spec}


@pytest.mark.parametrize("obj", [rewrite("food-review", "v1"), model("v1"), model("v1", 3)])
def test_what_splits_an_alias_is_found(obj: Any) -> None:
    others = [rewrite("other", "v1"), {**rewrite("food-review", "v1"), "spec": {"poolRef": {"name": "x"}}}]
    target, place = select_target([*others, obj], "llm-pool", "food-review", "v1")
    assert target is obj
    check_target(obj, place, "v1", "v2")


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "Create an InferenceModelRewrite"),
        ([rewrite("food-review", "v1"), model("v1")], "leave one of them"),
        ([rewrite("food-review", "v0")], "does not send food-review to v1"),
    ],
)
def test_an_alias_that_is_not_split_clearly_is_refused(objects: list[Any], words: str) -> None:
    with pytest.raises(RouteRefused, match=words):
        select_target(objects, "llm-pool", "food-review", "v1")


def test_a_canary_that_serves_already_is_refused() -> None:
    obj = rewrite("food-review", "v1")
    obj["spec"]["rules"][0]["targets"].append({"modelRewrite": "v2"})
    _, place = select_target([obj], "llm-pool", "food-review", "v1")
    with pytest.raises(RouteRefused, match="lists v2 already"):
        check_target(obj, place, "v1", "v2")
