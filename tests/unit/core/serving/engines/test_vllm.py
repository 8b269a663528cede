"""What the arguments of a server say."""

from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
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
        (["sh", "-c", "vllm serve m --max-num-seqs \\\n  64"], 64),
        (["sh", "-c", "vllm serve m --max-num-seqs='64'"], 64),
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
        {"args": ["bash", "-euo", "pipefail", "-c", " ".join(ONE)]},
        {"command": ["tini", "--", "/bin/sh", "-ec", " \\\n  ".join(ONE) + " # don't\nsleep 9 --x\n"]},
        {"command": ["sh", "-c", "echo --y; " + " ".join(ONE) + " --enforce-eager 2>&1 | tee /log"]},
        {"command": ["bash", "-c"], "args": [" ".join(ONE) + "&\nwait"]},
        {"command": ["sh", "-c"], "args": [f"cat > /x <<EOF\nit's\nEOF\nexec {' '.join(ONE)}; exit"]},
        {"command": ["sh", "-c", 'exec "$@"', "--"], "args": ONE},
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


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("-q awq", "--quantization=awq"),
        ("-dpl 4", "--data-parallel-size-local 4"),
        ("-ep", "--enable-expert-parallel"),
    ],
)
def test_a_flag_has_one_name_however_short_it_is_spelled(short: str, long: str) -> None:
    assert vllm.options(short.split()) == vllm.options(long.split())


@pytest.mark.parametrize("script", ["vllm serve m", "vllm serve m 'x", "sleep 1"])
@pytest.mark.parametrize(
    "starts",
    [["bash", "-c"], ["/bin/sh", "-e", "-c"], ["tini", "--", "dash", "-ec"], ["env", "A=b", "sh", "-lc"]],
)
@pytest.mark.parametrize("split", [0, 1, 2])
def test_a_script_is_not_rewritten_whoever_starts_its_shell(
    script: str, starts: list[str], split: int
) -> None:
    words = [*starts, script]
    container = {"name": "server", "command": words[:split], "args": words[split:]}
    with pytest.raises(PlanInvalid, match="shell script"):
        vllm.with_options(container, {"--max-num-seqs": ("8",)})


def test_json_values_are_compared_as_values_and_negative_numbers_are_no_flags() -> None:
    first, second = (
        vllm.options(["--speculative-config", text, "--x", "-1"])
        for text in ('{"a": 1, "b": 2}', '{"b":2,"a":1}')
    )
    assert first == second
    assert first["--x"] == ("-1",)
