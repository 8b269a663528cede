"""What a workload tells its servers of adapters, and what contradicts itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from inference_rollouts.core.plan.workload import Workload

BASE = "meta-llama/Llama-3.1-8B-Instruct"


def workload(**changes: Any) -> Workload:
    basics = {"image": "vllm:1", "model": BASE, "served_model_name": "llama", "replicas": 1}
    return Workload.model_validate(basics | changes)


def listed(*names: Any) -> Any:
    return [{"name": name, "path": f"/adapters/{name}"} for name in names]


@pytest.mark.parametrize(
    ("args", "rank", "names"),
    [
        ([], 16, {"llama"}),
        (["--max-lora-rank=64"], 64, {"llama"}),
        (["--max_lora_rank", "64", "--max-num-seqs=8"], 64, {"llama"}),
        (["--served-model-name", "a", "b", "--x"], 16, {"llama", "a", "b"}),
    ],
)
def test_arguments_tell_rank_and_names(args: Any, rank: int, names: set[Any]) -> None:
    work = workload(args=args)
    assert work.max_lora_rank == rank
    assert work.base_names == names


def test_adapters_go_into_arguments_or_wait_for_the_api() -> None:
    assert workload().adapter_args == []
    assert workload().adapter_env == []
    work = workload(adapters=listed("sql", "code"))
    assert work.adapter_args == [
        "--enable-lora", "--lora-modules", "sql=/adapters/sql", "code=/adapters/code"
    ]  # fmt: skip
    assert work.adapter_env == []
    work = workload(adapters=listed("sql"), lora={"load": "api"})
    assert work.adapter_args == ["--enable-lora"]
    assert work.adapter_env == [{"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "true"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapters": listed("sql", "sql")}, "sql more than once"),
        ({"adapters": listed("llama")}, "llama names both the model and an adapter"),
        ({"args": ["--lora-modules", "a=/b"]}, "name adapters under workload.adapters"),
        ({"args": ["--max-lora-rank=big"]}, "no number"),
        ({"adapters": [{"name": "a b", "path": "/p"}]}, "name"),
        ({"adapters": [{"name": "a", "path": "/p q"}]}, "path"),
        ({"adapters": "none"}, "as-stable"),
    ],
)
def test_contradictions_are_refused_when_the_plan_is_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        workload(**changes)
