"""vLLM's metrics count what happened."""

from __future__ import annotations

from lab.model_server.faults import Faults
from tests.support.lab.model_server import run, serving, success_series


def _series(name: str) -> str:
    return f'{name}{{engine="0",model_name="llama"}}'


def _http(status: str) -> str:
    return f'http_requests_total{{handler="/v1/completions",method="POST",status="{status}"}}'


def test_counters_count_what_happened() -> None:
    async def scenario() -> None:
        async with serving() as server:
            assert await server.metric(success_series("length")) == 0
            assert await server.metric(_http("5xx")) is None
            for _ in range(3):
                await server.complete(max_tokens=20, ignore_eos=True)
            await server.complete(model="nobody")
            await server.post("/lab/faults", {"http_500": 1})
            await server.complete()
            assert await server.metric(success_series("length")) == 3
            assert await server.metric(_series("vllm:generation_tokens_total")) == 60
            assert await server.metric(_series("vllm:prompt_tokens_total")) == 9
            assert await server.metric(_series("vllm:time_to_first_token_seconds_count")) == 3
            assert await server.metric(_series("vllm:inter_token_latency_seconds_count")) == 57
            assert await server.metric(_http("2xx")) == 3
            assert await server.metric(_http("4xx")) == 1
            assert await server.metric(_http("5xx")) == 1
            assert await server.metric(_series("vllm:num_requests_running")) == 0

    run(scenario)


def test_metrics_can_be_missing() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hidden_metrics=("vllm:time_to_first*", "http_*"))) as server:
            await server.complete()
            _, text = await server.get("/metrics")
            assert "time_to_first_token" not in text
            assert "http_requests_total" not in text
            assert "vllm:e2e_request_latency_seconds_count" in text

    run(scenario)
