"""Batching, timing, prefix cache, words, options and the image catalogue, without HTTP."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from lab.model_server import words
from lab.model_server.engine import Engine, Limits, Sequence
from lab.model_server.errors import ProtocolError
from lab.model_server.faults import Fault, Faults
from lab.model_server.images import Kind, load_catalogue
from lab.model_server.metrics import VllmMetrics
from lab.model_server.options import OptionsError, StartError, parse_options
from lab.model_server.timing import BLOCK_CHARACTERS, PrefixCache, Timing

STILL = Timing(noise=0.0, warmup_extra=0.0)


def sequence(answer_tokens: int = 4, prompt_tokens: int = 10) -> Sequence:
    return Sequence(prompt_tokens, 0, answer_tokens, "length", Random(1))


def engine(timing: Timing, max_num_seqs: int = 2, kv_cache_tokens: int = 10_000) -> Engine:
    return Engine(timing, Limits(max_num_seqs, kv_cache_tokens), VllmMetrics("m", 1000))


async def consume(served: Engine, request: Sequence) -> None:
    async for _ in served.tokens(request):
        pass


def test_further_requests_wait_in_order() -> None:
    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        served = Engine(replace(STILL, prefill_base=0.02), Limits(2, 10_000), metrics)
        done: list[int] = []

        async def one(number: int) -> None:
            await consume(served, sequence(1))
            done.append(number)

        tasks = [asyncio.create_task(one(number)) for number in range(5)]
        await asyncio.sleep(0.005)
        assert (metrics.running.value, metrics.waiting.value) == (2, 3)
        await asyncio.gather(*tasks)
        assert sorted(done[:2]) == [0, 1]
        assert sorted(done[2:4]) == [2, 3]
        assert (metrics.running.value, metrics.waiting.value) == (0, 0)
        assert metrics.queue.total > 0.03
        assert metrics.ttft.total > metrics.prefill.total

    asyncio.run(scenario())


def test_a_full_kv_cache_makes_requests_wait() -> None:
    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        served = Engine(replace(STILL, prefill_base=0.02), Limits(10, 25), metrics)
        tasks = [asyncio.create_task(consume(served, sequence(4, 10))) for _ in range(2)]
        await asyncio.sleep(0.005)
        assert (metrics.running.value, metrics.waiting.value) == (1, 1)
        assert metrics.kv_usage.value == pytest.approx(14 / 25)
        await asyncio.gather(*tasks)
        assert metrics.kv_usage.value == 0

    asyncio.run(scenario())


def test_clients_that_leave_free_their_place() -> None:
    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        served = Engine(replace(STILL, prefill_base=30.0), Limits(1, 10_000), metrics)
        running, waiting = (asyncio.create_task(consume(served, sequence())) for _ in range(2))
        await asyncio.sleep(0.005)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert (metrics.running.value, metrics.waiting.value) == (0, 0)

    asyncio.run(scenario())


def test_whoever_leaves_is_in_no_count_of_finished_requests() -> None:
    """They are in the time to a first token when they had one, and nowhere else."""

    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        served = Engine(STILL, Limits(4, 10_000), metrics)
        async with aclosing(served.tokens(sequence(100))) as tokens:
            await anext(tokens)
        before_any = asyncio.create_task(consume(served, sequence()))
        await asyncio.sleep(0)
        before_any.cancel()
        await asyncio.gather(before_any, return_exceptions=True)
        await consume(served, sequence(4))
        assert (metrics.ttft.count, metrics.e2e.count, metrics.per_token.count) == (2, 1, 1)
        text = metrics.exposition(lambda name: False)
        for reason, count in {
            "length": 1.0,
            "abort": 0.0,
            "error": 0.0,
            "stop": 0.0,
            "repetition": 0.0,
        }.items():
            labels = f'engine="0",finished_reason="{reason}",model_name="m"'
            assert f"vllm:request_success_total{{{labels}}} {count}" in text

    asyncio.run(scenario())


def test_an_engine_takes_so_many_unfinished_sequences_and_no_more() -> None:
    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        served = Engine(replace(STILL, prefill_base=30.0), Limits(1, 10_000, max_queued=2), metrics)
        tasks = [asyncio.create_task(consume(served, sequence())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ProtocolError) as refused:
            await consume(served, sequence())
        assert (refused.value.status, refused.value.kind) == (503, "Service Unavailable")
        text = metrics.exposition(lambda name: False)
        labels = 'model_name="m",reason="max_num_queued_reqs"'
        assert f"vllm:admission_rejections_total{{{labels}}} 1.0" in text
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        served.check_admission(2)

    asyncio.run(scenario())


def test_an_engine_that_dies_fails_whatever_it_has() -> None:
    async def scenario() -> None:
        served = engine(replace(STILL, prefill_base=0.01), max_num_seqs=1)
        running, waiting = (asyncio.create_task(consume(served, sequence())) for _ in range(2))
        await asyncio.sleep(0)
        served.die()
        for task in (running, waiting):
            with pytest.raises(ProtocolError, match="EngineCore encountered an issue"):
                await task
        with pytest.raises(ProtocolError, match="EngineCore encountered an issue"):
            await consume(served, sequence())

    asyncio.run(scenario())


def test_tokens_come_first_alone_then_in_groups() -> None:
    async def scenario() -> None:
        groups = [count async for count in engine(STILL).tokens(sequence(20))]
        assert groups == [1, 8, 8, 3]

    asyncio.run(scenario())


def test_observed_latencies_are_those_of_the_timing_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a time that passes only while the engine lets it pass."""
    now = 0.0

    async def passes(self: Engine, seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    monkeypatch.setattr(Engine, "_pass", passes)
    monkeypatch.setattr("lab.model_server.engine.time", SimpleNamespace(monotonic=lambda: now))

    async def scenario() -> None:
        metrics = VllmMetrics("m", 1000)
        timing = replace(
            STILL, prefill_base=0.05, prefill_per_token=0.0, inter_token=0.01, batch_slowdown=0.0
        )
        await consume(Engine(timing, Limits(1, 1000), metrics), sequence(41))
        assert metrics.ttft.total == pytest.approx(0.05)
        assert metrics.inter_token.total / metrics.inter_token.count == pytest.approx(0.01)

    asyncio.run(scenario())


def test_prefill_grows_with_the_prompt_and_the_batch_and_falls_as_it_warms() -> None:
    timing = Timing(noise=0.0)
    cold, warm = (timing.prefill(100, 1, served, Random(1)) for served in (0, 50))
    assert cold - warm == pytest.approx(timing.warmup_extra)
    assert timing.prefill(1000, 1, 50, Random(1)) > 1.5 * warm
    assert timing.prefill(100, 60, 50, Random(1)) > 1.2 * warm
    assert timing.decode(8, 60, Random(1)) > 1.2 * timing.decode(8, 1, Random(1))


def test_noise_leaves_the_median_alone() -> None:
    rng, timing = Random(3), replace(STILL, noise=0.3)
    drawn = [timing.prefill(0, 0, 0, rng) for _ in range(2000)]
    assert statistics.median(drawn) == pytest.approx(timing.prefill_base, rel=0.05)
    assert max(drawn) > 1.8 * timing.prefill_base


def test_the_prefix_cache_remembers_beginnings() -> None:
    cache, prefix = PrefixCache(), "a" * (2 * BLOCK_CHARACTERS)
    assert cache.lookup(prefix + "b" * BLOCK_CHARACTERS) == 0
    assert cache.lookup(prefix + "c" * BLOCK_CHARACTERS) == 2 * BLOCK_CHARACTERS
    assert cache.lookup("x" + prefix) == 0
    assert cache.lookup(prefix + "b" * BLOCK_CHARACTERS) == 3 * BLOCK_CHARACTERS


def test_the_prefix_cache_forgets_the_oldest() -> None:
    cache = PrefixCache(blocks=4)
    for letter in "abcde":
        cache.lookup(letter * BLOCK_CHARACTERS)
    assert cache.lookup("a" * BLOCK_CHARACTERS) == 0
    assert cache.lookup("e" * BLOCK_CHARACTERS) == BLOCK_CHARACTERS


def test_a_prefix_without_its_beginning_is_of_no_use() -> None:
    cache = PrefixCache(blocks=2)
    prompt = "".join(letter * BLOCK_CHARACTERS for letter in "abc")
    assert cache.lookup(prompt) == 0
    assert cache.lookup(prompt) == 0


def test_text_depends_on_prompt_and_model_only() -> None:
    def text(model: str, prompt: str) -> str:
        return words.Text(model, prompt).slice(0, 300)

    assert text("m", "p") == text("m", "p")
    assert len({text("m", "p"), text("m", "q"), text("n", "p")}) == 3
    whole = words.Text("m", "p")
    assert whole.slice(0, 300) == whole.slice(0, 1) + whole.slice(1, 299) + whole.slice(299, 300)
    assert len(whole.slice(0, 300)) == 1200


def test_at_most_one_fault_is_drawn_and_shares_are_kept() -> None:
    faults = Faults(http_500=0.1, cut=0.2)
    drawn = [faults.draw(step / 1000) for step in range(1000)]
    assert drawn.count(Fault.HTTP_500) == pytest.approx(100, abs=1)
    assert drawn.count(Fault.CUT) == pytest.approx(200, abs=1)
    assert drawn.count(None) == pytest.approx(700, abs=1)


def test_options_are_read_as_vllm_reads_them() -> None:
    options = parse_options(
        [
            *("vllm", "serve", "meta/base", "--served-model-name", "one", "two", "--max-num-seqs", "64"),
            *(
                "--enable-lora",
                "--lora-modules",
                "a=/p/a",
                "b=/p/b",
                "--max-lora-rank=32",
                "--gpu-memory=0.9",
            ),
        ]
    )
    assert options.model == "meta/base"
    assert options.names == ("one", "two")
    assert (options.max_num_seqs, options.max_lora_rank, options.enable_lora) == (64, 32, True)
    assert options.lora_modules == (("a", "/p/a"), ("b", "/p/b"))
    for old in (["--model=meta/base"], ["vllm", "serve", "--model", "meta/base", "--max-num-seqs", "2"]):
        assert parse_options(old).names == ("meta/base",)
    more = parse_options(
        [
            *("serve", "meta/base", "--api-key", "a", "b", "--max_num_queued_reqs=8"),
            *("--shutdown-timeout", "90", "--api-server-count=2"),
        ]
    )
    assert (more.api_keys, more.max_queued) == (("a", "b"), 8)
    assert (more.shutdown_timeout, more.api_servers) == (90.0, 2)


def test_adapters_cannot_be_loaded_at_run_time_by_several_api_servers() -> None:
    with pytest.raises(StartError, match="api_server_count"):
        parse_options(["serve", "m", "--api-server-count=2"], {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"})


@pytest.mark.parametrize(
    "argument", ["--max-num-seqs=many", "--max-num-seqs=0", "--lora-modules=x", "--port=x"]
)
def test_options_that_make_no_sense_are_refused(argument: str) -> None:
    with pytest.raises(OptionsError):
        parse_options([argument])


def test_the_catalogue_has_the_images_of_the_demo() -> None:
    catalogue = load_catalogue()
    today, good, slow = (
        catalogue.image(f"vllm/vllm-openai:{tag}") for tag in ("v0.31.0", "v0.32.0", "v0.32.0-slow")
    )
    assert today
    assert good
    assert slow
    assert today.kind is good.kind is slow.kind is Kind.VLLM
    assert good.timing.prefill_base == pytest.approx(today.timing.prefill_base, rel=0.1)
    assert (slow.faults.first_token_factor, slow.faults.http_500) == (2.5, 0.04)
    assert catalogue.image("vllm/vllm-openai:v9") is None
    picker = catalogue.image("registry.k8s.io/gateway-api-inference-extension/epp:v1.0.0")
    assert picker
    assert picker.kind is Kind.PICKER


@pytest.mark.parametrize(
    "entry",
    ["{kind: nope}", "{speed: 1}", "{faults: {nope: 1}}", "{faults: {cut: 2}}", "{timing: {nope: 1}}"],
)
def test_a_catalogue_that_makes_no_sense_names_its_entry(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(f"images:\n  the-image: {entry}\n")
    with pytest.raises(ValueError, match="the-image"):
        load_catalogue(path)


def test_bucket_edges_are_vllms() -> None:
    metrics = VllmMetrics("m", 1000)
    metrics.ttft.observe(0.25)
    text = metrics.exposition(lambda name: False)
    series = [
        line for line in text.splitlines() if line.startswith("vllm:time_to_first_token_seconds_bucket")
    ]
    edges = [line.split('le="')[1].split('"')[0] for line in series]
    assert edges[:4] == ["0.001", "0.005", "0.01", "0.02"]
    assert edges[-2:] == ["2560.0", "+Inf"]
    assert len(edges) == 23
    counts = {edge: line.rpartition(" ")[2] for edge, line in zip(edges, series, strict=True)}
    assert (counts["0.1"], counts["0.25"], counts["+Inf"]) == ("0.0", "1.0", "1.0")


def test_a_server_is_as_fast_as_its_accelerator() -> None:
    catalogue = load_catalogue()
    h100, h200, l4 = (
        Timing().on(catalogue.accelerator(name))
        for name in ("nvidia-h100-80gb", "nvidia-h200-141gb", "nvidia-l4")
    )
    assert h100 == Timing()
    for field in ("prefill_base", "prefill_per_token", "inter_token"):
        assert getattr(h200, field) < getattr(h100, field) < getattr(l4, field) / 2
