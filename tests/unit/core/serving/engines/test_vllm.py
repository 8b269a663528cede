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
