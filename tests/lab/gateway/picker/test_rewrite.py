"""Which model a request asks for, once rewrites have spoken."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from lab.gateway.picker.rewrite import Decision, decide
from tests.support.lab.gateway_objects import exactly, metadata, rewrite, targets

Obj = dict[str, Any]


def shares(rewrites: list[Obj], model: str = "food") -> dict[str, float]:
    chance = Random(1)
    drawn = Counter(decide(rewrites, "a", model, chance).model for _ in range(2000))
    return {name: count / 2000 for name, count in drawn.items()}


def test_rewrites_split_by_weight() -> None:
    made = rewrite("r", {"matches": exactly("food"), "targets": targets(v1=90, v2=10)})
    assert shares([made]) == pytest.approx({"v1": 0.9, "v2": 0.1}, abs=0.03)
    assert shares([made], "other") == {"other": 1.0}


def test_targets_without_weight_share_evenly_but_not_beside_others() -> None:
    even = rewrite("r", {"targets": targets(v1=None, v2=None)})
    assert shares([even]) == pytest.approx({"v1": 0.5, "v2": 0.5}, abs=0.04)
    mixed = rewrite("r", {"targets": targets(v1=None, v2=1)})
    assert shares([mixed]) == {"v2": 1.0}


def test_exact_rules_come_before_catch_alls_and_old_before_young() -> None:
    catch_all = rewrite("all", {"targets": targets(any=1)}, creationTimestamp="2020-01-01T00:00:00Z")
    young = rewrite("young", {"matches": exactly("food"), "targets": targets(young=1)})
    old = rewrite(
        "old",
        {"matches": exactly("food"), "targets": targets(old=1)},
        creationTimestamp="2025-01-01T00:00:00Z",
    )
    assert decide([catch_all, young, old], "a", "food", Random(1)) == Decision("old", "old")
    assert decide([catch_all, young, old], "a", "wine", Random(1)) == Decision("any", "all")
    assert decide([catch_all], "b", "food", Random(1)) == Decision("food")


def test_older_clusters_split_by_inference_models() -> None:
    listed = [{"name": "v1", "weight": 3}, {"name": "v2", "weight": 1}]
    spec = {"poolRef": {"name": "a"}, "modelName": "food", "targetModels": listed}
    old = {"kind": "InferenceModel", "metadata": metadata("old"), "spec": spec}
    assert shares([old]) == pytest.approx({"v1": 0.75, "v2": 0.25}, abs=0.04)
    assert shares([old], "wine") == {"wine": 1.0}
    assert decide([old], "b", "food", Random(1)) == Decision("food")
    bare = {**old, "spec": {"poolRef": {"name": "a"}, "modelName": "food"}}
    assert decide([bare], "a", "food", Random(1)).model == "food"


def test_a_rewrite_comes_before_an_inference_model() -> None:
    spec = {"poolRef": {"name": "a"}, "modelName": "food", "targetModels": [{"name": "old"}]}
    old = {"kind": "InferenceModel", "metadata": metadata("old"), "spec": spec}
    catch_all = rewrite("new", {"targets": targets(new=1)})
    assert decide([old, catch_all], "a", "food", Random(1)) == Decision("new", "new")
