"""A lab in a cluster that is not its own: limited by RBAC, beside others' objects, gone without a trace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.cli import main
from lab.gateway.envoy import executable
from lab.host.addresses import free_subnet
from lab.host.processes import ProcessError
from lab.host.state import CHECKOUT, StateDirectory
from lab.kube.client import Kube, KubeError
from lab.kube.clock import now
from lab.kube.objects import RESOURCES, path_of, path_of_object
from lab.lifecycle import health
from lab.lifecycle.foreign import Foreign, ForeignError, join, leave, survey
from lab.lifecycle.up import Startup, down
from lab.monitoring.binary import PrometheusNotFound, find_prometheus
from tests.support.lab.cluster import DEADLINE, Cluster, deployment, until

UPSTREAM = CHECKOUT.parent / "shared" / "kube-contract" / "crds"
NAMESPACE = "inference-lab"
LAB = "inference-rollouts.dev/lab"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Somebody's cluster, with the upstream definitions where they are at hand, else with none."""
    folder = tmp_path_factory.mktemp("foreign")
    made = Cluster(folder, free_subnet(), {})
    none = folder / "none"
    none.mkdir()
    try:
        made.start_apiserver(definitions=UPSTREAM if UPSTREAM.exists() else none)
        made.kubectl("create", "namespace", NAMESPACE)
        made.kubectl("create", "-f", "-", text=json.dumps(deployment("bystander")))
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)


@pytest.fixture(scope="module")
def limited(cluster: Cluster) -> Path:
    """A kubeconfig of a service account that may do no more than docs/lab-rbac.yaml says."""
    cluster.kubectl("apply", "-f", str(CHECKOUT / "docs" / "lab-rbac.yaml"))
    config = json.loads(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "lab", "--namespace", NAMESPACE).strip()
    server = config["clusters"][0]["cluster"]["server"]
    (cluster.directory / "ca.crt").write_bytes((cluster.directory / "apiserver" / "ca.crt").read_bytes())
    config["clusters"] = [{"name": "c", "cluster": {"server": server, "certificate-authority": "ca.crt"}}]
    config["users"] = [{"name": "u", "user": {"token": token}}, {"name": "x", "user": {"token": "no"}}]
    config["contexts"] = [
        {"name": "limited", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}},
        {"name": "stranger", "context": {"cluster": "c", "user": "x"}},
    ]
    config["current-context"] = "stranger"
    path = cluster.directory / "limited"
    path.write_text(json.dumps(config))
    return path


def contents(cluster: Cluster) -> dict[str, str]:
    """The version of every object of every kind that the lab knows."""

    async def body(kube: Kube) -> dict[str, str]:
        versions = {}
        for kind in RESOURCES:
            with suppress(KubeError):
                for obj in await kube.list(path_of(kind)):
                    versions[path_of_object(obj)] = obj["metadata"]["resourceVersion"]
        return versions

    return cluster.run(body, kubelet=False)


async def outcomes(record: dict[str, Any]) -> dict[str, int]:
    """What the clients saw so far, by outcome."""
    url = f"{record['loadgen']['url']}/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as page:
        return dict((await page.json())["totals"]["outcomes"])


async def serves(record: dict[str, Any], requests: int, tolerated: frozenset[str] = frozenset()) -> None:
    """Return when so many more requests were answered; fail when one since the start was not."""
    before = (await outcomes(record)).get("ok", 0)

    async def enough() -> bool:
        return (await outcomes(record)).get("ok", 0) >= before + requests

    async with asyncio.timeout(DEADLINE):
        await until(enough)
    assert (await outcomes(record)).keys() <= {"ok"} | tolerated


class Bed:
    """A lab in the cluster, and the cluster as it was before."""

    def __init__(self, cluster: Cluster, limited: Path, folder: Path) -> None:
        self.cluster = cluster
        self.before = contents(cluster)
        self.directory = StateDirectory(folder)
        cluster_ = Foreign(limited, "limited")
        self.lab = Startup(self.directory, 100, find_prometheus(), lambda _: None, foreign=cluster_)
        asyncio.run(self.lab.run())

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments)


@pytest.fixture(scope="module")
def bed(cluster: Cluster, limited: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    if not Path(executable()).exists():
        pytest.skip("Envoy is not installed")
    try:
        find_prometheus()
    except PrometheusNotFound as error:
        pytest.skip(str(error))
    made = Bed(cluster, limited, tmp_path_factory.mktemp("lab"))
    try:
        yield made
    finally:
        down(made.directory)


def test_it_serves_from_its_namespace_with_limited_rights(bed: Bed) -> None:
    assert asyncio.run(health.problems(bed.lab.record, fresh=True)) == {}
    asyncio.run(serves(bed.lab.record, 20))
    logs = "".join(path.read_text() for path in bed.directory.logs.glob("*.log"))
    assert "orbidden" not in logs


def test_pickers_are_in_the_path_and_scraped(bed: Bed) -> None:
    async def counted() -> bool:
        query = {"query": 'llm_d_epp_request_duration_seconds_count{job="epp",namespace="inference-lab"}'}
        url = f"{bed.lab.record['prometheus']['url']}/api/v1/query"
        async with aiohttp.ClientSession() as session, session.get(url, params=query) as page:
            series = (await page.json())["data"]["result"]
        return (
            bool(series)
            and float(series[0]["value"][1]) > 20
            and series[0]["metric"]["namespace"] == NAMESPACE
        )

    async def body(_: Kube) -> None:
        await until(counted)

    bed.cluster.run(body, kubelet=False)


def test_no_request_is_lost_while_pods_are_replaced(bed: Bed) -> None:
    bed.kubectl("rollout", "restart", "deployment/llm-pool")
    bed.kubectl("rollout", "status", "deployment/llm-pool", "--timeout=60s")
    asyncio.run(serves(bed.lab.record, 100))


def test_only_an_alias_is_lost_while_pickers_are_replaced(bed: Bed) -> None:
    """FailOpen: requests reach the pods, but nobody rewrites what they ask for."""
    bed.kubectl("delete", "pod", "-l", "app=llm-pool-epp")
    bed.kubectl("rollout", "status", "deployment/llm-pool-epp", "--timeout=60s")
    os.kill(bed.lab.record["processes"]["picker"]["pid"], signal.SIGKILL)
    asyncio.run(serves(bed.lab.record, 100, frozenset({"http_404"})))


def test_others_are_left_alone(bed: Bed) -> None:
    after = contents(bed.cluster)
    assert {path: after.get(path) for path in bed.before} == bed.before
    assert not bed.cluster.kubectl("get", "replicasets", "-n", "default", "-o", "name")


def test_a_second_lab_is_refused(bed: Bed, limited: Path, tmp_path: Path) -> None:
    second = Startup(StateDirectory(tmp_path), 1, Path("true"), lambda _: None, foreign=Foreign(limited))
    with pytest.raises(ForeignError, match="Unauthorized"):
        asyncio.run(second.run())
    before = contents(bed.cluster).keys()

    async def body(kube: Kube) -> None:
        with pytest.raises(ForeignError, match="belongs to another lab"):
            await survey(kube, "elsewhere", "beef")

    bed.cluster.run(body, kubelet=False)
    assert contents(bed.cluster).keys() >= {path for path in before if "/events/" not in path}


def test_down_leaves_the_cluster_as_it_was(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another lab has one of its ports by now."""
    monkeypatch.setattr("lab.lifecycle.up.SILENCE", 0.0)
    monkeypatch.setattr("lab.lifecycle.up.addresses.is_listening", lambda *_: True)
    with pytest.raises(ProcessError, match=r"the lab is down, but http.* still accepts connections"):
        down(bed.directory)
    assert contents(bed.cluster) == bed.before
    assert not down(bed.directory)


def test_a_cluster_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
            }
        )
    )
    directory = StateDirectory(tmp_path / "state")
    with pytest.raises(ForeignError, match=r"127\.0\.0\.1:1"):
        asyncio.run(Startup(directory, 1, Path("true"), lambda _: None, foreign=Foreign(path)).run())
    assert directory.read() is None


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without custom kinds."""
    (tmp_path / "none").mkdir()
    made = Cluster(tmp_path, free_subnet(), {})
    try:
        made.start_apiserver(definitions=tmp_path / "none")
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)


def test_definitions_and_a_namespace_come_and_go_with_the_lab(bare: Cluster) -> None:
    async def body(kube: Kube) -> None:
        before = await kube.list(DEFINITIONS)
        assert await survey(kube, NAMESPACE, "beef") == []
        await join(kube, NAMESPACE, "beef", [])
        await join(kube, NAMESPACE, "beef", [])
        await kube.get(path_of("ServiceAccount", NAMESPACE, "default"))
        installed = await kube.list(DEFINITIONS, labelSelector=f"{LAB}=beef")
        assert {each["spec"]["names"]["kind"] for each in installed} >= {"HTTPRoute", "InferencePool"}
        kept = {
            "apiVersion": "llm-d.ai/v1alpha2",
            "kind": "InferenceObjective",
            "spec": {"poolRef": {"name": "a"}},
        }
        kept["metadata"] = {"name": "theirs", "namespace": "default"}
        await kube.create(path_of("InferenceObjective", "default"), kept)
        assert await leave(kube, NAMESPACE, "beef") == ["inferenceobjectives.llm-d.ai"]

        async def gone() -> bool:
            spaces = [space["metadata"]["name"] for space in await kube.list(path_of("Namespace"))]
            left = await kube.list(DEFINITIONS)
            return NAMESPACE not in spaces and len(left) == len(before) + 1

        await until(gone)
        await kube.get(path_of_object(kept))

    bare.run(body, kubelet=False)


def test_what_the_cluster_runs_itself_is_left_to_it(bare: Cluster) -> None:
    async def body(kube: Kube) -> None:
        for name, age in (("kube-scheduler", 0), ("kube-controller-manager", 3600)):
            moment = (now() - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": moment}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
            lease["metadata"] = {"name": name, "namespace": "kube-system"}
            await kube.create(path_of("Lease", "kube-system"), lease)
        assert await survey(kube, NAMESPACE, "beef") == ["scheduler"]

    bare.run(body, kubelet=False)


def test_an_object_that_no_lab_made_is_not_taken_over(bare: Cluster) -> None:
    async def body(kube: Kube) -> None:
        theirs = deployment("llm-pool")
        await kube.create(path_of("Deployment", "default"), theirs)
        with pytest.raises(ForeignError, match=r"Deployment llm-pool .* was not made by a lab"):
            await survey(kube, "default", "beef")

    bare.run(body, kubelet=False)


def test_a_kubeconfig_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.cli.find_prometheus", lambda: Path("true"))
    absent = str(tmp_path / "absent")
    assert main(["up", "--dir", str(tmp_path / "state"), "--kubeconfig", absent]) == 1
    assert f"no cluster: [Errno 2] No such file or directory: '{absent}'" in capsys.readouterr().err
    assert main(["down", "--dir", str(tmp_path / "state")]) == 0
