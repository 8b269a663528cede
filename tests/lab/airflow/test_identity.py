"""Airflow's identity in a lab may do what docs/rbac.yaml says, and no more."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.airflow.identity import grant, revoke
from tests.support.lab.apiserver_process import ApiServer


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as server:
        path = server.directory / "kubeconfig-airflow"
        for _ in range(2):
            grant(server.directory / "kubeconfig", path)
        yield path


def may(limited: Path, *request: str) -> bool:
    """What `kubectl auth can-i` says."""
    program = str(Path(sys.executable).with_name("kubectl"))
    command = [program, f"--kubeconfig={limited}", "auth", "can-i", *request]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


def test_only_its_owner_may_read_the_file(limited: Path) -> None:
    assert stat.S_IMODE(limited.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("allowed", "request_"),
    [
        (True, "patch httproutes.gateway.networking.k8s.io"),
        (True, "create deployments.apps"),
        (True, "list nodes"),
        (False, "update httproutes.gateway.networking.k8s.io"),
        (False, "get secrets"),
        (False, "delete pods"),
        (False, "patch nodes"),
        (False, "create deployments.apps --namespace=kube-system"),
        (False, "create rolebindings.rbac.authorization.k8s.io"),
    ],
)
def test_the_identity_is_least_privileged(limited: Path, allowed: bool, request_: str) -> None:
    assert may(limited, *request_.split()) is allowed


def test_what_was_granted_is_taken_back(limited: Path) -> None:
    """The last that uses the account."""
    admin = limited.with_name("kubeconfig")
    for _ in range(2):
        revoke(admin)
    with pytest.raises(AssertionError, match=r"logged in|Unauthorized"):
        may(limited, "list", "nodes")


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("{}")
    with pytest.raises(RuntimeError, match="kubectl apply"):
        grant(tmp_path / "config", tmp_path / "limited")
