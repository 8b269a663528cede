"""Which adapters clients can name, and which fit; which server process has one."""

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.routing.rewrite import answering
from inference_rollouts.core.serving.adapters import (
    Adapter,
    Lora,
    Served,
    as_served,
    check_complete,
    conflict,
    misfits,
    nameable,
    process_of,
)
from tests.support.routes import rewrite

BASE = "meta-llama/Llama-3.1-8B-Instruct"

MODEL = Served("llama", BASE)

SQL = Served("sql", "/adapters/sql", "llama")

CONFIG = {"r": 8, "base_model_name_or_path": BASE, "target_modules": ["q_proj", "model.layers.0.v_proj"]}


def test_an_entry_of_the_listing_tells_models_and_adapters_apart() -> None:
    card = {"id": "sql", "root": "/adapters/sql", "parent": "llama", "max_model_len": None}
    assert Served.from_card(card) == SQL
    assert Served.from_card({"id": "llama", "root": BASE, "parent": None}) == MODEL
    assert Served.from_card({"id": "llama"}) == Served("llama", "")


def test_what_any_pod_serves_is_taken_over() -> None:
    """A pod that resolves adapters lazily lists one only after its first request."""
    adapters = as_served({"a": [MODEL], "b": [MODEL, SQL]})
    assert adapters == (Adapter(name="sql", path="/adapters/sql"),)


def test_pods_that_disagree_on_a_path_are_named() -> None:
    other = Served("sql", "/adapters/sql-2", "llama")
    with pytest.raises(
        PlanInvalid, match=r"sql is loaded from /adapters/sql on pod a .* /adapters/sql-2 on pod b"
    ):
        as_served({"a": [SQL], "b": [other]})


def test_an_adapter_that_does_not_say_where_it_is_from_cannot_be_taken_over() -> None:
    with pytest.raises(PlanInvalid, match="Adapter 'sql' of pod a cannot be taken over from ''"):
        as_served({"a": [Served("sql", "", "llama")]})


def test_names_come_from_pods_and_from_what_rewrites_send_to() -> None:
    old = {
        "kind": "InferenceModel",
        "metadata": {"name": "old"},
        "spec": {
            "modelName": "food",
            "targetModels": [{"name": "food-1", "weight": 9}, {"name": "food-0", "weight": 0}],
        },
    }
    own = {"kind": "InferenceModel", "metadata": {"name": "own"}, "spec": {"modelName": "tool"}}
    objective = {"kind": "InferenceObjective", "metadata": {"name": "o"}, "spec": {"priority": 1}}
    targets = answering([rewrite("review", "review-1"), old, own, objective])
    assert targets == {
        "review-1": "InferenceModelRewrite review",
        "food-1": "InferenceModel old",
        "tool": "InferenceModel own",
    }
    names = nameable({"a": [MODEL, SQL]}, targets)
    assert names["sql"] == "pod a"
    check_complete(names, {"llama", "sql", "review-1", "food-1", "tool"}, "new")
    with pytest.raises(PlanInvalid) as caught:
        check_complete(names, {"llama", "tool", "food-1"}, "new")
    assert "review-1 (InferenceModelRewrite review), sql (pod a)" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"target_modules": "all-linear"}, None),
        ({"r": 16}, None),
        ({"r": 17}, "rank 17, the servers take up to 16"),
        ({"r": None}, "no rank in /x.json"),
        ({"r": "8"}, "no rank"),
        ({"r": True}, "no rank"),
        ({"base_model_name_or_path": "mistralai/Mistral-7B"}, "trained for mistralai/Mistral-7B, not for"),
        ({"base_model_name_or_path": None}, "trained for None"),
        ({"base_model_name_or_path": ["llama"]}, "trained for None"),
        ({"base_model_name_or_path": "a\nb"}, "trained for None"),
        ({"target_modules": [["q_proj"], {}]}, "modules None"),
        ({"target_modules": ["q_proj", "conv1", "x.router"]}, "modules conv1, router"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], words: str | None) -> None:
    adapter = Adapter(name="sql", path="/adapters/sql", config="/x.json")
    sentences = list(misfits(adapter, CONFIG | changes, Lora(), {BASE}, 16))
    if words is None:
        assert not sentences
    else:
        [sentence] = sentences
        assert words in sentence
        assert sentence.startswith("Adapter sql ")


def test_what_fits_can_be_widened() -> None:
    adapter = Adapter(name="sql", path="/p", config="/x.json")
    config = CONFIG | {"r": 64, "base_model_name_or_path": "/models/llama", "target_modules": ["router"]}
    lora = Lora(target_modules=("router",))
    assert not list(misfits(adapter, config, lora, {BASE, "/models/llama"}, 64))
    assert len(list(misfits(adapter, config, Lora(), {BASE}, 16))) == 3


SERVED = [Served("llama", "meta/llama"), Served("v1", "/adapters/v1", "llama")]


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("v2", "/adapters/v2", None),
        ("v1", "/adapters/v1", None),
        ("v1", "/adapters/v2", "from /adapters/v1, not from /adapters/v2"),
        ("llama", "/adapters/v2", "with its base model"),
        ("llama", "meta/llama", "with its base model"),
    ],
)
def test_names_that_are_taken(name: str, path: str, words: str | None) -> None:
    sentence = conflict(SERVED, name, path)
    assert sentence is None if words is None else words in (sentence or "")


def test_a_restarted_container_is_another_process() -> None:
    pod: dict[str, Any] = {"metadata": {"uid": "a"}, "status": {"containerStatuses": [{"restartCount": 0}]}}
    later = copy.deepcopy(pod)
    later["status"]["containerStatuses"][0]["restartCount"] = 1
    other = {"metadata": {"uid": "b"}, "status": {}}
    assert len({process_of(each) for each in (pod, later, other)}) == 3
