"""The kubelet against an API server in memory: a pod's whole life, outages, restarts, lost nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import aiohttp
import pytest

from lab.gateway.model import Target
from lab.gateway.xds import endpoints
from lab.host.addresses import free_subnet
from lab.kube.client import Kube
from lab.kube.conditions import find, is_true
from lab.kube.objects import Obj, path_of
from lab.kubelet.addresses import Addresses
from lab.kubelet.kubelet import OFFLINE, Kubelet
from lab.kubelet.node import Machine
from lab.model_server.images import Catalogue, Image, Kind
from lab.model_server.timing import Accelerator, Timing
from lab.reconcile.store import Store
from tests.support.lab.fake_kube import FakeKube

TIMING = Timing(prefill_base=0.01, prefill_per_token=0.0, inter_token=0.01, warmup_extra=0.0, noise=0.0)
CATALOGUE = Catalogue(
    {
        "vllm:good": Image(Kind.VLLM, pull=1.0, load=1.0, timing=TIMING),
        "vllm:crash": Image(Kind.VLLM, crash_after=0.01, load=60.0),
    },
    {},
    {"abacus": Accelerator(first_token=50.0)},
)


@pytest.fixture
def subnet() -> str:
    return free_subnet()


def node(name: str = "node-1") -> Obj:
    status = {"capacity": {"cpu": "8"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}


def pod(name: str = "p", image: str = "vllm:good", container: Obj | None = None, **spec: Any) -> Obj:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 0.02}
    container = {
        "name": "vllm",
        "image": image,
        "ports": [{"containerPort": 8000}],
        "readinessProbe": probe,
        **(container or {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"inference-pool": "llm"}},
        "spec": {"nodeName": "node-1", "containers": [container], **spec},
    }


@asynccontextmanager
async def kubelet(kube: FakeKube, subnet: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        store = Store(cast(Kube, kube), ("Node", "Pod"))
        machine = Machine(store, CATALOGUE, Addresses(subnet), session, 0.01)
        work = asyncio.create_task(Kubelet(store, machine).run())
        try:
            yield session
        finally:
            work.cancel()
            [ended] = await asyncio.gather(work, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polls the code under test
            await asyncio.sleep(0.005)


def ready(kube: FakeKube, name: str = "p") -> bool:
    obj = kube.pod(name)
    return obj is not None and is_true(obj, "Ready")


async def answers(session: aiohttp.ClientSession, address: str) -> int:
    try:
        async with session.get(f"http://{address}:8000/health") as response:
            return response.status
    except aiohttp.ClientError:
        return 0


async def until_answer(session: aiohttp.ClientSession, address: str, status: int) -> None:
    async with asyncio.timeout(60):
        while await answers(session, address) != status:  # noqa: ASYNC110 - polls the code under test
            await asyncio.sleep(0.005)


def test_a_pod_from_binding_to_removal(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            status = (kube.pod("p") or {})["status"]
            assert status["phase"] == "Running"
            assert status["podIP"] == f"{subnet}.10"
            assert status["hostIP"] == f"{subnet}.2"
            [container] = status["containerStatuses"]
            assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)
            assert await answers(session, f"{subnet}.10") == 200
            kube.ask_to_delete("p", grace=5)
            await until(lambda: kube.pod("p") is None)
            assert await answers(session, f"{subnet}.10") == 0
            reasons = [event["reason"] for event in kube.of_kind("Event")]
            expected = ["Pulling", "Pulled", "Created", "Started", "Killing"]
            assert [reason for reason in reasons if reason in expected] == expected

    asyncio.run(scenario())


def test_a_server_that_dies_at_once_is_started_again(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            async with session.post(f"http://{subnet}.10:8000/lab/crash") as response:
                assert response.status == 202

            def died() -> dict[str, Any]:
                [container] = (kube.pod("p") or {})["status"]["containerStatuses"]
                return dict(container.get("lastState", {}).get("terminated", {}))

            await until(lambda: died().get("exitCode") == 137)
            await until(lambda: ready(kube))

    asyncio.run(scenario())


def test_a_server_is_as_fast_as_what_its_node_has(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        slow = node()
        slow["metadata"]["labels"] = {"cloud.google.com/gke-accelerator": "abacus"}
        kube.add(slow)
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            asked = {"prompt": "Hello", "max_tokens": 1}
            began = asyncio.get_running_loop().time()
            async with session.post(f"http://{subnet}.10:8000/v1/completions", json=asked) as answer:
                assert answer.status == 200
            assert asyncio.get_running_loop().time() - began > 50 * TIMING.prefill_base

    asyncio.run(scenario())


def test_an_unbound_pod_is_left_alone_until_it_is_bound(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet):
            unbound = kube.add(pod(nodeName=""))
            await asyncio.sleep(0.1)
            assert "status" not in unbound
            kube.change({**unbound, "spec": pod()["spec"]})
            await until(lambda: ready(kube))

    asyncio.run(scenario())


STREAM = {"prompt": "x", "max_tokens": 40, "ignore_eos": True, "stream": True}
DRAINS = {
    "command": ["vllm", "serve"],
    "args": ["meta/base", "--shutdown-timeout=2"],
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    "livenessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 0.02},
}


async def ended(stream: aiohttp.ClientResponse) -> str:
    """The rest of a stream, as far as it comes."""
    come = bytearray()
    with suppress(aiohttp.ClientError):
        async for chunk in stream.content.iter_any():
            come.extend(chunk)
    return come.decode()


def test_streams_are_finished_before_a_pod_goes_that_was_given_time(subnet: str) -> None:
    """Requests are served during preStop, whose pod has left every pool already; then none is begun."""

    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod(container=DRAINS))
            await until(lambda: ready(kube))
            url = f"http://{subnet}.10:8000/v1/completions"
            async with session.post(url, json=STREAM) as first:
                await first.content.readline()
                kube.ask_to_delete("p", grace=20)
                target = Target("llm", "default", (("inference-pool", "llm"),), (8000,))
                assert endpoints(target, kube.of_kind("Pod")) == []
                async with session.post(url, json=STREAM) as second:
                    texts = await asyncio.gather(ended(first), ended(second))
            assert all(text.endswith("data: [DONE]\n\n") for text in texts)
            async with asyncio.timeout(60):
                while (await session.post(url, json=STREAM)).status != 500:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await until(lambda: kube.pod("p") is None)
            assert not [event for event in kube.of_kind("Event") if "failed liveness" in event["message"]]

    asyncio.run(scenario())


def test_streams_of_a_pod_that_was_given_none_break_off_with_its_grace(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            url = f"http://{subnet}.10:8000/v1/completions"
            async with session.post(url, json={**STREAM, "max_tokens": 1000}) as stream:
                await stream.content.readline()
                kube.ask_to_delete("p", grace=1)
                assert "[DONE]" not in await ended(stream)
            await until(lambda: kube.pod("p") is None)

    asyncio.run(scenario())


def test_a_pod_that_vanishes_is_killed(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            kube.remove(path_of("Pod", "default", "p"))
            await until_answer(session, f"{subnet}.10", 0)

    asyncio.run(scenario())


def test_an_outage_of_the_api_delays_reports_and_nothing_else(
    subnet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.kubelet.pod.RETRY", 0.02)

    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            await until(lambda: is_true(kube.of_kind("Node")[0], "Ready"))
            kube.outage = True
            kube.add(pod())
            await until_answer(session, f"{subnet}.10", 200)
            await asyncio.sleep(0.3)  # the probes pass, and nobody hears of it
            assert not ready(kube)
            kube.outage = False
            await until(lambda: ready(kube))
            kube.ask_to_delete("p", grace=1)
            kube.outage = True
            await until_answer(session, f"{subnet}.10", 0)
            assert kube.pod("p")
            kube.outage = False
            await until(lambda: kube.pod("p") is None)

    asyncio.run(scenario())


def test_a_restarted_kubelet_picks_its_pods_up(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet):
            kube.add(pod("first"))
            kube.add(pod("p"))
            await until(lambda: ready(kube) and ready(kube, "first"))
        address = (kube.pod("p") or {})["status"]["podIP"]
        kube.remove(path_of("Pod", "default", "first"))

        def restarted() -> bool:
            status = (kube.pod("p") or {})["status"]
            return bool(status["containerStatuses"][0]["restartCount"] == 1)

        async with kubelet(kube, subnet) as session:
            await until(lambda: restarted() and ready(kube))
            status = (kube.pod("p") or {})["status"]
            assert status["podIP"] == address
            assert status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
            assert await answers(session, address) == 200

    asyncio.run(scenario())


def test_a_pod_that_was_deleted_meanwhile_is_removed(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet):
            kube.add(pod())
            await until(lambda: ready(kube))
        kube.ask_to_delete("p", grace=1)
        async with kubelet(kube, subnet):
            await until(lambda: kube.pod("p") is None)

    asyncio.run(scenario())


def test_a_pod_of_the_same_name_is_another_pod(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet):
            kube.add(pod())
            await until(lambda: ready(kube))
            kube.remove(path_of("Pod", "default", "p"))
            kube.add(pod())
            await until(lambda: ready(kube))
            assert (kube.pod("p") or {})["status"]["podIP"] == f"{subnet}.11"

    asyncio.run(scenario())


def test_nodes_are_kept_ready(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        made = kube.add(node())
        async with kubelet(kube, subnet):
            await until(lambda: kube.of_kind("Lease"))
            status = kube.of_kind("Node")[0]["status"]
            assert status["allocatable"] == {"cpu": "8"}
            assert is_true({"status": status}, "Ready")
            unknown = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
            kube.change({**made, "status": {**status, "conditions": unknown}})
            await until(lambda: is_true(kube.of_kind("Node")[0], "Ready"))

    asyncio.run(scenario())


def test_a_lost_node_takes_its_pods_along(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet) as session:
            kube.add(pod())
            await until(lambda: ready(kube))
            alive = kube.of_kind("Node")[0]
            lost = {**alive, "metadata": {**alive["metadata"], "annotations": {OFFLINE: "true"}}}
            kube.change(lost)
            await until_answer(session, f"{subnet}.10", 0)
            assert ready(kube), "nobody is left to report"
            kube.change({**lost, "metadata": {**lost["metadata"], "annotations": {}}})
            await until_answer(session, f"{subnet}.10", 200)

    asyncio.run(scenario())


def test_a_crash_loop_shows_in_the_status(subnet: str) -> None:
    async def scenario() -> None:
        kube = FakeKube()
        kube.add(node())
        async with kubelet(kube, subnet):
            kube.add(pod(image="vllm:crash"))

            def backs_off() -> bool:
                status = (kube.pod("p") or {}).get("status") or {"containerStatuses": [{"state": {}}]}
                waiting = status["containerStatuses"][0]["state"].get("waiting", {})
                return bool(waiting.get("reason") == "CrashLoopBackOff")

            await until(backs_off)
            status = (kube.pod("p") or {})["status"]
            condition = find(status["conditions"], "Ready")
            assert condition
            assert condition["reason"] == "ContainersNotReady"
            assert status["phase"] == "Running"

    asyncio.run(scenario())
