"""The pipeline's guardian beside a lab: a process with an identity of its own, ended with the lab."""

from __future__ import annotations

import os
import sys

from lab.airflow.identity import GUARDIAN, grant
from lab.host import processes
from lab.host.processes import Process
from lab.host.state import CHECKOUT, StateDirectory

NAME = "guardian"


def start_guardian(directory: StateDirectory, prometheus_url: str) -> Process:
    """Start it on a lab that is up. Raises RuntimeError when the cluster refuses its rights."""
    kubeconfig = directory.guardian_kubeconfig
    grant(directory.kubeconfig, kubeconfig, GUARDIAN)
    argv = [sys.executable, "-m", "inference_rollouts", "guardian"]
    argv += [f"--kubeconfig={kubeconfig}", f"--prometheus={prometheus_url}"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "plugins")}
    process = processes.start(NAME, argv, directory.log(NAME), env=environment, cwd=directory.path)
    directory.add(process)
    return process
