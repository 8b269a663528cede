"""One lab for all tests, and one Airflow beside it; each test gets the lab as it was in the beginning."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from bench.reflex import breakable_run
from bench.shared import SharedLab
from bench.stage import stage
from inference_rollouts.rollout.run import Run
from lab.airflow.guardian import start_guardian
from lab.airflow.identity import AIRFLOW, GUARDIAN, grant, revoke
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.host.state import CHECKOUT
from lab.lifecycle.foreign import Foreign
from tests.support.e2e.pipeline import ASKING, DAG, LONG, Pipeline

HERE = Path(__file__).parent
CLIENTS = 40.0  # requests/s of all: of each the lab's processes think for 10 ms
FEW = 30.0  # the same beside Airflow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the tests here those go first that need no Airflow, so that none runs beside them."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(HERE)]
    needs_airflow = {item: "shared_pipeline" in getattr(item, "fixturenames", ()) for item in items}
    ordered = sorted((items[place] for place in places), key=needs_airflow.__getitem__)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="package")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's include/, its plan `llm` without a margin: a step passes when its bake time is over.

    A plan `llm-asking` besides asks a person before 100 %.
    """
    folder = tmp_path_factory.mktemp("project") / "include"
    shutil.copytree(CHECKOUT / "include", folder)
    plan = yaml.safe_load((folder / "rollouts" / "llm.yaml").read_text())
    plan["analysis"] |= {"margin": None}
    asking = plan | {"name": "llm-asking", "approvals": {"steps": [100]}}
    for each in (plan, asking):
        (folder / "rollouts" / f"{each['name']}.yaml").write_text(yaml.safe_dump(each))
    return folder


@pytest.fixture(scope="package")
def shared_lab(
    request: pytest.FixtureRequest, include: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedLab]:
    """In the cluster that LAB_KUBECONFIG (and LAB_CONTEXT) name, if one is named, else in one of its own."""
    path = os.environ.get("LAB_KUBECONFIG")
    foreign = Foreign(Path(path), os.environ.get("LAB_CONTEXT"), "default") if path else None
    with pytest.MonkeyPatch.context() as patch, stage(tmp_path_factory.mktemp("e2e") / "lab", foreign) as up:
        patch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(include))
        up.set_rate(CLIENTS)
        lab = SharedLab(up)
        yield lab
        if foreign or not _interrupted(request):
            lab.reset()


@pytest.fixture(scope="package")
def shared_pipeline(shared_lab: SharedLab) -> Iterator[Pipeline]:
    """With no more rights than docs say it needs, in any cluster, and with a guardian beside it."""
    directory, record = shared_lab.stage.directory, shared_lab.stage.record
    grant(directory.kubeconfig, directory.limited_kubeconfig)
    prometheus = record["prometheus"]["url"]
    start_guardian(directory, prometheus)
    airflow = Airflow(directory.airflow_home, connections(directory.limited_kubeconfig, prometheus))
    with revoked_after(directory.kubeconfig), airflow:
        pipeline = Pipeline(airflow, airflow.client())
        for dag in (DAG, ASKING):
            pipeline.client.wait_for_dag(dag, LONG)
        yield pipeline


@contextmanager
def revoked_after(kubeconfig: Path) -> Iterator[None]:
    """A cluster of others keeps nothing of the pipeline's identities."""
    try:
        yield
    finally:
        for identity in (AIRFLOW, GUARDIAN):
            revoke(kubeconfig, identity)


@pytest.fixture(scope="package")
def canary_run(shared_lab: SharedLab) -> Run:
    """As preflight froze it in the lab as it began."""
    shared_lab.reset()
    return breakable_run(shared_lab.stage)


@pytest.fixture
def lab(shared_lab: SharedLab) -> SharedLab:
    """The lab as it began."""
    shared_lab.reset()
    return shared_lab


@pytest.fixture
def canary(shared_lab: SharedLab, canary_run: Run) -> Run:
    """A run whose canary's pods are ready, without traffic, in the lab as it began."""
    shared_lab.reset(canary_run)
    return canary_run


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, lab: SharedLab, shared_pipeline: Pipeline) -> Iterator[Pipeline]:
    """Airflow beside the lab as it began, but for fewer clients: what is watched is Airflow's work."""
    lab.stage.set_rate(FEW)
    yield shared_pipeline
    if not _interrupted(request):
        shared_pipeline.quiesce()
        lab.stage.set_rate(CLIENTS)


def _interrupted(request: pytest.FixtureRequest) -> bool:
    """Whether somebody pressed Ctrl-C and waits for the end."""
    return request.session.exitstatus == pytest.ExitCode.INTERRUPTED
