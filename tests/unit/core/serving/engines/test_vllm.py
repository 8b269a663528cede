"""What the arguments of a server say."""

from typing import Any

import pytest

from inference_rollouts.core.serving.engines import vllm


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
def test_the_largest_rank_is_on_the_command_line(args: Any, rank: int) -> None:
    for where in ("args", "command"):
        pod = {"spec": {"containers": [{where: args}]}}
        assert vllm.max_lora_rank(vllm.arguments_of(pod)) == rank


@pytest.mark.parametrize(
    ("arguments", "seats"),
    [
        (["--max-num-seqs=64"], 64),
        (["--max-num-seqs", "64"], 64),
        (["--max_num_seqs=64"], 64),
        (["sh", "-c", "vllm serve m --max-num-seqs 64 --port 8000"], 64),
        (["--max-num-seqs=64", "--max-num-seqs=128"], 128),
        (["--max-num-batched-tokens=8192"], None),
        ([], None),
    ],
)
def test_what_a_server_runs_at_once_is_read_from_its_arguments(
    arguments: list[Any], seats: int | None
) -> None:
    assert vllm.max_num_seqs(arguments) == seats


ONE = [
    "vllm",
    "serve",
    "m",
    "--lora-modules",
    "a=b",
    "c=d",
    "--max-num-seqs=64",
    "--enforce-eager",
    "-tp",
    "2",
]


@pytest.mark.parametrize(
    "other",
    [
        {"command": ["vllm", "serve"], "args": ["m", "--lora_modules=a=b", "c=d", *ONE[6:]]},
        {"args": ["--model", "m", "--enforce-eager", *ONE[3:7], "--tensor-parallel-size=2"]},
        {"args": ["--model=m", *ONE[3:6], "--max-num-seqs", "1", "--max-num-seqs", "64", *ONE[7:]]},
        {"command": ["/bin/sh", "-c"], "args": ["exec " + " ".join(ONE)]},
        {"command": ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m", *ONE[3:]]},
    ],
)
def test_two_spellings_of_one_command_are_equal(other: dict[str, Any]) -> None:
    assert vllm.server_options(other) == vllm.server_options({"command": ONE})
    assert vllm.server_options({"command": ONE}) == {
        "": ("m",),
        "--lora-modules": ("a=b", "c=d"),
        "--max-num-seqs": ("64",),
        "--enforce-eager": (),
        "--tensor-parallel-size": ("2",),
    }


def test_json_values_are_compared_as_values_and_negative_numbers_are_no_flags() -> None:
    first, second = (
        vllm.options(["--speculative-config", text, "--x", "-1"])
        for text in ('{"a": 1, "b": 2}', '{"b":2,"a":1}')
    )
    assert first == second
    assert first["--x"] == ("-1",)
