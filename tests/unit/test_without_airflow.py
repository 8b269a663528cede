"""Everything below the hooks runs where there is no Airflow: a command line, a guardian, a page."""

from __future__ import annotations

import subprocess
import sys

from tests.support.plans import ROOT

PROGRAM = """
import importlib, pkgutil, sys

class NoAirflow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "airflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoAirflow())

import inference_rollouts
for room in ("core", "clients", "rollout", "preflight", "kinds"):
    package = importlib.import_module(f"inference_rollouts.{room}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

from pathlib import Path

from kubernetes.config import ConfigException

from inference_rollouts.clients.kubeconfig import connect
from inference_rollouts.rollout.guardian import Guardian, Round
from inference_rollouts.rollout.way_back import Restored
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import run_on

cluster = FakeCluster()
before = cluster.route["spec"]
run = run_on(cluster)
run.traffic.attach()
run.traffic.permit(0, 1000.0)
run.traffic.shift(1, run.plan.all_steps[0], 1000.0)
assert cluster.weights() == {"llm-pool": 95, "llm-pool-version-2": 5}
assert run.traffic.way_back.restore("the end of a test", 1001.0) is Restored.DONE
assert cluster.route["spec"] == before
assert Guardian(cluster, None, "guardian").round() == Round()
try:
    connect(Path("/nowhere/kubeconfig"))
except ConfigException:
    pass
else:
    raise AssertionError("there is no such file")
assert not [name for name in sys.modules if name.partition(".")[0] == "airflow"]
print("restored")
"""


def test_a_rollout_is_frozen_moved_and_restored_without_airflow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "restored\n"), done.stderr
