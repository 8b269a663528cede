"""The kubelet's parts without an API server: probes, statuses, containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from lab.host.addresses import free_port
from lab.kubelet.container import Container, Surroundings
from lab.kubelet.probes import Probe, Tally, parse_probe
from lab.kubelet.status import ContainerState, pod_status
from lab.model_server.images import Catalogue, Image, Kind
from lab.model_server.timing import Timing

HOST = "127.0.0.1"
QUICK = Timing(prefill_base=0.0, prefill_per_token=0.0, inter_token=0.0, warmup_extra=0.0, noise=0.0)
CATALOGUE = Catalogue(
    {
        "vllm:good": Image(Kind.VLLM, pull=1.0, load=1.0, timing=QUICK),
        "vllm:crash": Image(Kind.VLLM, load=60.0, crash_after=0.01),
        "vllm:never": Image(Kind.VLLM, never_ready=True),
        "plain:good": Image(Kind.PLAIN),
    },
    {},
)
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_probe_has_the_apis_defaults() -> None:
    probe = parse_probe({"httpGet": {"port": 1}}, [])
    assert probe == Probe({"httpGet": {"port": 1}}, {}, 0, 10, 1, 1, 3)
    assert parse_probe(None, []) is None


def test_thresholds_count_results_in_a_row() -> None:
    tally = Tally(Probe({}, {}, successes=2, failures=3), False)
    seen = [(tally.add(passed), tally.healthy) for passed in (True, False, True, True, False, False, False)]
    assert seen == [
        (False, False),
        (False, False),
        (False, False),
        (True, True),
        (False, True),
        (False, True),
        (True, False),
    ]


def state(name: str = "vllm", **fields: Any) -> ContainerState:
    return ContainerState(name, "image", **fields)


RUNNING = {"running": {"startedAt": "x"}}
CRASHED = {"terminated": {"exitCode": 1}}
DONE = {"terminated": {"exitCode": 0}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("states", "policy", "expected"),
    [
        ([state()], "Always", "Pending"),
        ([state(state=RUNNING), state()], "Always", "Pending"),
        ([state(state=RUNNING)], "Always", "Running"),
        ([state(state=CRASHED)], "Always", "Running"),
        ([state(state=BACK_OFF, last_state=CRASHED)], "Always", "Running"),
        ([state(state=CRASHED)], "Never", "Failed"),
        ([state(state=DONE)], "Never", "Succeeded"),
        ([state(state=DONE)], "OnFailure", "Succeeded"),
        ([state(state=CRASHED)], "OnFailure", "Running"),
    ],
)
def test_the_phase_follows_from_the_containers(
    states: list[ContainerState], policy: str, expected: str
) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"restartPolicy": policy}}
    assert pod_status(pod, states, "127.1.1.10", "127.1.1.2", "x", MOMENT)["phase"] == expected


def conditions(pod: dict[str, Any], *states: ContainerState) -> dict[str, dict[str, Any]]:
    status = pod_status(pod, states, "127.1.1.10", "127.1.1.2", "x", MOMENT)
    return {condition["type"]: condition for condition in status["conditions"]}


def test_a_pod_is_ready_when_all_its_containers_and_gates_are() -> None:
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"readinessGates": [{"conditionType": "neg"}]}}
    waiting = conditions(pod, state("a", ready=True), state("b"))
    assert waiting["Ready"]["reason"] == waiting["ContainersReady"]["reason"] == "ContainersNotReady"
    assert "[b]" in waiting["Ready"]["message"]
    gated = conditions(pod, state("a", ready=True))
    assert (gated["ContainersReady"]["status"], gated["Ready"]["status"]) == ("True", "False")
    assert gated["Ready"]["reason"] == "ReadinessGatesNotReady"
    pod["status"] = {"conditions": [{"type": "neg", "status": "True"}]}
    assert conditions(pod, state("a", ready=True))["Ready"]["status"] == "True"


def test_transition_times_stay_while_the_status_does() -> None:
    before = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    pod = {"metadata": {"name": "p"}, "spec": {}, "status": {"conditions": [before]}}
    assert conditions(pod, state())["Ready"]["lastTransitionTime"] == "2025-01-01T00:00:00Z"
    assert conditions(pod, state(ready=True))["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


class Lab:
    """A container, what was told about it, and the images on its node."""

    def __init__(self, session: aiohttp.ClientSession, scale: float) -> None:
        self.told: list[tuple[str, str]] = []
        self.states: list[str] = []
        self.pulled: set[str] = set()
        self.session = session
        self.scale = scale
        self.container: Container

    def start(self, spec: dict[str, Any], previous: dict[str, Any] | None = None, **pod: Any) -> Container:
        around = Surroundings(
            pod={"metadata": {"name": "p", "labels": {"inference-pool": "llm"}}, "spec": pod},
            address=HOST,
            catalogue=CATALOGUE,
            pulled=self.pulled,
            session=self.session,
            scale=self.scale,
            tell=lambda kind, reason, message: self.told.append((reason, message)),
            changed=self.note,
        )
        self.container = Container({"name": "c", **spec}, around, previous)
        return self.container

    def note(self) -> None:
        [(kind, detail)] = self.container.state.state.items()
        self.states.append(detail.get("reason") or kind)

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.told]


@asynccontextmanager
async def lab(scale: float = 0.001) -> AsyncIterator[Lab]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        made = Lab(session, scale)
        try:
            yield made
        finally:
            await made.container.stop(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - polls the code under test
            await asyncio.sleep(0.002)


def vllm(port: int, **more: Any) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 0.01}
    return {
        "image": "vllm:good",
        "args": [f"--port={port}", "--served-model-name=llama"],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": probe,
        **more,
    }


def test_a_container_is_pulled_started_and_found_ready() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            container = made.start(vllm(port))
            await until(lambda: container.state.ready)
            assert made.reasons()[:4] == ["Pulling", "Pulled", "Created", "Started"]
            assert container.state.started
            assert made.pulled == {"vllm:good"}
            async with made.session.get(f"http://{HOST}:{port}/v1/models") as response:
                assert response.headers["x-served-by"] == "p"
                assert response.headers["x-inference-pool"] == "llm"
            await container.stop(5)
            terminated = container.state.state["terminated"]
            assert (terminated["exitCode"], terminated["reason"]) == (0, "Completed")
            assert not container.state.ready
            with pytest.raises(aiohttp.ClientError):
                await made.session.get(f"http://{HOST}:{port}/health")

    asyncio.run(scenario())


def test_an_image_is_pulled_once_a_node() -> None:
    async def scenario() -> None:
        async with lab() as made:
            made.pulled.add("vllm:good")
            container = made.start(vllm(free_port()))
            await until(lambda: container.state.ready)
            assert made.told[0] == ("Pulled", 'Container image "vllm:good" already present on machine')

    asyncio.run(scenario())


def test_an_unknown_image_is_tried_again_and_again() -> None:
    async def scenario() -> None:
        async with lab() as made:
            container = made.start({"image": "nowhere:1"})
            await until(lambda: made.states.count("ImagePullBackOff") >= 3)
            assert made.states[:3] == ["ErrImagePull", "ImagePullBackOff", "ErrImagePull"]
            assert container.state.restarts == 0
            await container.stop(5)

    asyncio.run(scenario())


def test_a_crash_loop_backs_off_and_counts() -> None:
    async def scenario() -> None:
        async with lab() as made:
            container = made.start({"image": "vllm:crash"})
            await until(lambda: container.state.restarts >= 3)
            assert "CrashLoopBackOff" in made.states
            assert container.state.last_state["terminated"]["exitCode"] == 1
            delays = [message for reason, message in made.told if reason == "BackOff"]
            assert delays

    asyncio.run(scenario())


def test_the_restart_policy_rules() -> None:
    async def scenario() -> None:
        async with lab() as made:
            container = made.start({"image": "vllm:crash"}, restartPolicy="Never")
            await until(lambda: "terminated" in container.state.state)
            await asyncio.sleep(0.05)
            assert container.state.restarts == 0
        async with lab() as made:
            container = made.start({"image": "vllm:crash"}, restartPolicy="OnFailure")
            await until(lambda: container.state.restarts >= 2)

    asyncio.run(scenario())


def test_arguments_that_make_no_sense_end_with_status_2() -> None:
    async def scenario() -> None:
        async with lab() as made:
            container = made.start(vllm(0, args=["--max-num-seqs=many"]), restartPolicy="Never")
            await until(lambda: "terminated" in container.state.state)
            terminated = container.state.state["terminated"]
            assert terminated["exitCode"] == 2
            assert "max-num-seqs" in terminated["message"]

    asyncio.run(scenario())


def test_faults_can_come_from_the_environment() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            container = made.start(vllm(port, env=[{"name": "LAB_FAULTS", "value": '{"http_503": 1}'}]))
            await until(lambda: container.state.ready)
            url = f"http://{HOST}:{port}/v1/completions"
            async with made.session.post(url, json={"prompt": "x"}) as response:
                assert response.status == 503

    asyncio.run(scenario())


def test_a_probe_names_the_status_it_got() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            container = made.start(vllm(port))
            await until(lambda: container.state.ready)
            probe = Probe({"httpGet": {"path": "/nowhere", "port": port}}, {})
            assert await probe.attempt(made.session, HOST) == "HTTP probe failed with statuscode: 404"

    asyncio.run(scenario())


def test_a_container_that_never_passes_is_never_ready() -> None:
    async def scenario() -> None:
        async with lab() as made:
            container = made.start(vllm(free_port(), image="vllm:never"))
            await until(lambda: made.reasons().count("Unhealthy") >= 5)
            assert container.state.started
            assert not container.state.ready

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["startup", "liveness"])
def test_failed_startup_and_liveness_probes_restart(kind: str) -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            failing = {"httpGet": {"path": "/no", "port": port}, "periodSeconds": 0.01, "failureThreshold": 2}
            container = made.start(vllm(port, **{f"{kind}Probe": failing}))
            await until(lambda: container.state.restarts >= 1)
            assert ("Killing", f"Container c failed {kind} probe, will be restarted") in made.told

    asyncio.run(scenario())


def test_other_probes_connect() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port, closed = free_port(), free_port()
            container = made.start({"image": "plain:good", "ports": [{"containerPort": port}]})
            await until(lambda: container.state.ready)

            async def passes(action: dict[str, Any]) -> bool:
                return await Probe(action, {}).attempt(made.session, HOST) is None

            while not await passes({"tcpSocket": {"port": port}}):  # noqa: ASYNC110 - ready before it listens
                await asyncio.sleep(0.01)
            assert await passes({"grpc": {"port": port}})
            assert await passes({"exec": {"command": ["true"]}})
            assert not await passes({"tcpSocket": {"port": closed}})
            assert not await passes({"httpGet": {"port": "nameless"}})

    asyncio.run(scenario())


def test_a_hung_server_is_killed_after_its_grace() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            container = made.start(vllm(port, env=[{"name": "LAB_FAULTS", "value": '{"hang": 1}'}]))
            await until(lambda: container.state.ready)
            url = f"http://{HOST}:{port}/v1/completions"
            request = asyncio.create_task(made.session.post(url, json={"prompt": "x"}))
            await asyncio.sleep(0.1)
            await asyncio.wait_for(container.stop(0.1), 60)
            assert "terminated" in container.state.state
            with pytest.raises(aiohttp.ClientError):
                await request

    asyncio.run(scenario())


def test_a_server_that_is_restarted_has_its_grace_and_no_more() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            failing = {"httpGet": {"path": "/no", "port": port}, "periodSeconds": 0.5, "failureThreshold": 1}
            hung = [{"name": "LAB_FAULTS", "value": '{"hang": 1}'}]
            container = made.start(
                vllm(port, env=hung, livenessProbe={**failing, "initialDelaySeconds": 0.5}),
                terminationGracePeriodSeconds=1,
            )
            await until(lambda: container.state.ready)
            url = f"http://{HOST}:{port}/v1/completions"
            request = asyncio.create_task(made.session.post(url, json={"prompt": "x"}))
            await until(lambda: container.state.restarts == 1)
            assert container.state.last_state["terminated"]["exitCode"] == 137
            with pytest.raises(aiohttp.ClientError):
                await request

    asyncio.run(scenario())


def test_pre_stop_comes_before_sigterm() -> None:
    async def scenario() -> None:
        async with lab() as made:
            port = free_port()
            hook = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 0.3"]}}}
            container = made.start(vllm(port, lifecycle=hook))
            await until(lambda: container.state.ready)
            stop = asyncio.create_task(container.stop(10))
            await asyncio.sleep(0.1)
            async with made.session.get(f"http://{HOST}:{port}/health") as response:
                assert response.status == 200
            await asyncio.wait_for(stop, 60)

    asyncio.run(scenario())


def test_a_container_that_ran_before_counts_a_restart() -> None:
    async def scenario() -> None:
        async with lab() as made:
            previous = {"containerID": "lab://p/c/4", "restartCount": 4}
            container = made.start(vllm(free_port()), previous)
            await until(lambda: container.state.ready)
            assert container.state.restarts == 5
            assert container.state.last_state["terminated"]["exitCode"] == 137

    asyncio.run(scenario())
