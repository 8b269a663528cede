"""Who Airflow is in a lab: a ServiceAccount that may do what docs/rbac.yaml says, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lab.host.state import CHECKOUT, write_private
from lab.kube.kubeconfig import minified

ACCOUNT = "inference-rollouts"
RIGHTS = CHECKOUT / "docs" / "rbac.yaml"
VALID = "168h"  # longer than anybody watches a demo


def grant(kubeconfig: Path, limited: Path) -> None:
    """Make the account and its rights, and write a kubeconfig of it to `limited`.

    Raises RuntimeError with kubectl's words when the cluster refuses.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
    _kubectl(kubeconfig, "apply", "-f", "-", text=json.dumps(account))
    _kubectl(kubeconfig, "apply", "-f", str(RIGHTS))
    token = _kubectl(kubeconfig, "create", "token", ACCOUNT, f"--duration={VALID}").strip()
    config = minified(kubeconfig)
    config["users"][0]["user"] = {"token": token}
    write_private(limited, json.dumps(config))


def revoke(kubeconfig: Path) -> None:
    """Take the account and its rights back; what is gone already is fine. Raises RuntimeError."""
    _kubectl(kubeconfig, "delete", "--ignore-not-found", "-f", str(RIGHTS))
    _kubectl(kubeconfig, "delete", "--ignore-not-found", "serviceaccount", ACCOUNT)


def _kubectl(kubeconfig: Path, *arguments: str, text: str = "") -> str:
    program = str(Path(sys.executable).with_name("kubectl"))
    command = [program, f"--kubeconfig={kubeconfig}", "--namespace=default", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout
