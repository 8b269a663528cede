"""What a rollout would do to the cluster, without doing it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from inference_rollouts.cli import main, plan
from inference_rollouts.core.errors import ClusterUnavailable, PrometheusUnavailable
from inference_rollouts.core.reporting.forecast import Forecast
from inference_rollouts.preflight.forecast import forecast
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import run_on
from tests.support.plans import llm
from tests.support.read_only_cluster import read_only

ROUTE = "HTTPRoute routes-to-llm"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def seen(cluster: FakeCluster) -> Forecast:
    run = run_on(cluster, prometheus=FakePrometheus(cluster))
    return forecast(run, 1000.0)


def test_all_that_is_created_and_moved_is_told_and_nothing_is_written(cluster: FakeCluster) -> None:
    before = copy.deepcopy(cluster.objects)
    changes = {change.title: change for change in seen(read_only(cluster)).changes}
    assert changes["Deployment llm-pool-version-2"].what == "to create"
    assert "+ spec.replicas: 3" in changes["Deployment llm-pool-version-2"].lines
    path = "/spec/rules/0/backendRefs"
    assert changes[ROUTE].what == "to change"
    assert changes[ROUTE].lines[:2] == (
        f"- {path}: llm-pool 1",
        f"+ {path}: llm-pool 95, llm-pool-version-2 5 (step 1)",
    )
    assert changes[ROUTE].lines[-1] == f"+ {path}: llm-pool 0, llm-pool-version-2 100 (step 4)"
    assert cluster.objects == before
    assert not cluster.writes


def test_of_what_is_there_already_only_the_difference_is_told(cluster: FakeCluster) -> None:
    run = run_on(cluster, prometheus=FakePrometheus(cluster))
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    deployment = cluster.objects["Deployment", "llm-pool-version-2"]
    deployment["spec"]["replicas"] = 1
    changes = {change.title: change for change in forecast(run, 1000.0).changes}
    assert changes["Deployment llm-pool-version-2"].lines == ("- spec.replicas: 1", "+ spec.replicas: 3")
    assert set(changes) == {"Deployment llm-pool-version-2", ROUTE}


class TestCommand:
    """`inference-rollouts plan FILE`, for the CI of a repository of plans."""

    @pytest.fixture
    def file(self, tmp_path: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Path:
        clients = fake_clients(read_only(cluster), prometheus=FakePrometheus(cluster))
        monkeypatch.setattr(plan, "clients_of", lambda _: clients)
        path = tmp_path / "llm.yaml"
        path.write_text(yaml.safe_dump(llm()))
        return path

    def plan(self, file: Path) -> int:
        return main(["plan", str(file), "--prometheus", "http://prometheus"])

    def test_what_can_start_is_told_and_nothing_is_written(
        self, file: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = copy.deepcopy(cluster.objects)
        assert self.plan(file) == 0
        said = capsys.readouterr().out
        assert said.startswith("**llm-pool -> llm-pool-version-2: dry run**, nothing was written.")
        assert "Deployment llm-pool-version-2, to create:" in said
        assert cluster.objects == before

    def test_a_plan_that_is_wrong_or_does_not_fit_the_cluster_is_refused(
        self, file: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cluster.scale("llm-pool", 0)
        assert self.plan(file) == 1
        assert "has no ready pod" in capsys.readouterr().err
        file.write_text(yaml.safe_dump(llm(canary="llm-pool")))
        assert self.plan(file) == 1
        assert "the canary needs a name of its own" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "error", [ClusterUnavailable("GET", "/", 0, "refused"), PrometheusUnavailable("It is away")]
    )
    def test_what_does_not_answer_leaves_it_open(
        self,
        file: Path,
        cluster: FakeCluster,
        error: Exception,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def away(*_: object) -> None:
            raise error

        monkeypatch.setattr(cluster, "get", away)
        assert self.plan(file) == 2
        assert "nothing is known" in capsys.readouterr().err
