"""Is a running lab whole? Every part is asked what its users would ask it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from lab.kube.client import Kube, KubeError
from lab.kube.conditions import is_true
from lab.kube.objects import path_of

Probe = Callable[[aiohttp.ClientSession, dict[str, Any]], Awaitable[str | None]]
STABLE_POOL = "llm-pool"
STABLE_PODS = 3


async def problems(record: dict[str, Any], *, fresh: bool = False) -> dict[str, str]:
    """What does not work in the lab that `record` describes, by part; empty when all does.

    A `fresh` lab also has the pods it starts with, each ready and scraped.
    """
    probes = SERVING + FRESH if fresh else SERVING
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
        answers = await asyncio.gather(*(_asked(probe, session, record) for probe in probes))
    names = (probe.__name__.strip("_") for probe in probes)
    return {name: f"{name}: {problem}" for name, problem in zip(names, answers, strict=True) if problem}


async def _asked(probe: Probe, session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    try:
        return await probe(session, record)
    except (aiohttp.ClientError, TimeoutError, KubeError, OSError) as error:
        return str(error) or type(error).__name__


async def _apiserver(_: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    async with Kube.from_kubeconfig(record["kubeconfig"]) as kube:
        await kube.get("/version")
    return None


async def _pods(_: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    async with Kube.from_kubeconfig(record["kubeconfig"]) as kube:
        pods = await kube.list(
            path_of("Pod", record["namespace"]), labelSelector=f"inference-pool={STABLE_POOL}"
        )
    ready = sum(is_true(pod, "Ready") for pod in pods)
    return None if ready >= STABLE_PODS else f"{ready} of {STABLE_PODS} of {STABLE_POOL} are ready"


async def _gateway(session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    async with session.get(f"{record['gateway']['url']}/v1/models") as answer:
        return None if answer.status == 200 else f"answers {answer.status}"


async def _aliases(session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    """The names that pickers resolve."""
    for name in record["aliases"]:
        body = {"model": name, "prompt": "Say hello.", "max_tokens": 1}
        async with session.post(f"{record['gateway']['url']}/v1/completions", json=body) as answer:
            if answer.status != 200:
                return f"asked for {name}, the gateway answers {answer.status}"
    return None


async def _prometheus(session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    async with session.get(f"{record['prometheus']['url']}/-/ready") as answer:
        return None if answer.status == 200 else f"answers {answer.status}"


async def _targets(session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    query = {"query": f'sum(up{{job="vllm",inference_pool="{STABLE_POOL}"}})'}
    async with session.get(f"{record['prometheus']['url']}/api/v1/query", params=query) as answer:
        result = (await answer.json())["data"]["result"]
    scraped = int(result[0]["value"][1]) if result else 0
    return None if scraped >= STABLE_PODS else f"Prometheus scrapes {scraped} of {STABLE_PODS} pods"


async def _loadgen(session: aiohttp.ClientSession, record: dict[str, Any]) -> str | None:
    async with session.get(f"{record['loadgen']['url']}/healthz") as answer:
        return None if answer.status == 200 else f"answers {answer.status}"


SERVING: tuple[Probe, ...] = (_apiserver, _gateway, _prometheus, _loadgen)
FRESH: tuple[Probe, ...] = (_pods, _targets, _aliases)
