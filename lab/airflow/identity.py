"""Who the pipeline is in a lab: ServiceAccounts that may do what it says of itself, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.host.state import CHECKOUT, write_private
from lab.kube.kubeconfig import minified

VALID = "168h"  # longer than anybody watches a demo


@dataclass(frozen=True, slots=True)
class Identity:
    """A ServiceAccount, and the file with its rights."""

    account: str
    rights: Path


AIRFLOW = Identity("inference-rollouts", CHECKOUT / "docs" / "rbac.yaml")
GUARDIAN = Identity(
    "inference-rollouts-guardian", CHECKOUT / "include" / "manifests" / "guardian" / "rbac.yaml"
)


def grant(kubeconfig: Path, limited: Path, identity: Identity = AIRFLOW) -> None:
    """Make an account and its rights, and write a kubeconfig of it to `limited`.

    Raises RuntimeError with kubectl's words when the cluster refuses.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": identity.account}}
    _kubectl(kubeconfig, "apply", "-f", "-", text=json.dumps(account))
    _kubectl(kubeconfig, "apply", "-f", str(identity.rights))
    token = _kubectl(kubeconfig, "create", "token", identity.account, f"--duration={VALID}").strip()
    config = minified(kubeconfig)
    config["users"][0]["user"] = {"token": token}
    write_private(limited, json.dumps(config))


def revoke(kubeconfig: Path, identity: Identity = AIRFLOW) -> None:
    """Take an account and its rights back; what is gone already is fine. Raises RuntimeError."""
    _kubectl(kubeconfig, "delete", "--ignore-not-found", "-f", str(identity.rights))
    _kubectl(kubeconfig, "delete", "--ignore-not-found", "serviceaccount", identity.account)


def _kubectl(kubeconfig: Path, *arguments: str, text: str = "") -> str:
    program = str(Path(sys.executable).with_name("kubectl"))
    command = [program, f"--kubeconfig={kubeconfig}", "--namespace=default", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
