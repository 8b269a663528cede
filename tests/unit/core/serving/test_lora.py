"""Whether an adapter's name is free, and which server process has it."""

import copy

import pytest

from inference_rollouts.core.routing.rewrite import named_in
from inference_rollouts.core.serving.adapters import Served, conflict, process_of
from inference_rollouts.core.serving.engines import vllm
from tests.support.routes import rewrite

SERVED = [Served("llama", "meta/llama"), Served("v1", "/adapters/v1", "llama")]
MODEL = {
    "kind": "InferenceModel",
    "spec": {"modelName": "food", "targetModels": [{"name": "v1", "weight": 100}]},
}


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("v2", "/adapters/v2", None),
        ("v1", "/adapters/v1", None),
        ("v1", "/adapters/v2", "from /adapters/v1, not from /adapters/v2"),
        ("llama", "/adapters/v2", "with its base model"),
        ("llama", "meta/llama", "with its base model"),
    ],
)
def test_names_that_are_taken(name, path, said):
    found = conflict(SERVED, name, path)
    assert found is None if said is None else said in (found or "")


@pytest.mark.parametrize("name", ["food", "v1"])
def test_names_that_clients_may_ask_for_or_be_sent_to(name):
    assert named_in(rewrite("food", "v1"), name)
    assert named_in(MODEL, name)
    assert not named_in(rewrite("food", "v1"), "v2")
    assert not named_in(MODEL, "v2")


def test_a_rewrite_of_everything_names_its_targets_only():
    thing = rewrite("food", "v1")
    del thing["spec"]["rules"][0]["matches"]
    assert named_in(thing, "v1")
    assert not named_in(thing, "food")


def test_a_restarted_container_is_another_process():
    pod = {"metadata": {"uid": "a"}, "status": {"containerStatuses": [{"restartCount": 0}]}}
    later = copy.deepcopy(pod)
    later["status"]["containerStatuses"][0]["restartCount"] = 1
    other = {"metadata": {"uid": "b"}, "status": {}}
    assert len({process_of(each) for each in (pod, later, other)}) == 3


@pytest.mark.parametrize(
    ("args", "rank"),
    [
        ([], 16),
        (["--max-lora-rank=64"], 64),
        (["--max-lora-rank", "32"], 32),
        (["--max-lora-rank=8", "--max-lora-rank=128"], 128),
        (["vllm serve --max-lora-rank 256"], 256),
    ],
)
def test_the_largest_rank_is_on_the_command_line(args, rank):
    for where in ("args", "command"):
        pod = {"spec": {"containers": [{where: args}]}}
        assert vllm.max_lora_rank(vllm.arguments_of(pod)) == rank
