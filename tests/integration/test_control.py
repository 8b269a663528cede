"""The command line commands, stops and undoes on an API server that validates, owns fields and guards."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_rollouts.cli import main
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import Held
from inference_rollouts.core.objects.api_groups import GATEWAY_API, LEASE_API
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.routing.watch import lease_name
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.traffic import Traffic
from inference_rollouts.rollout.watching import Watcher
from tests.support.lab.apiserver_process import ApiServer
from tests.support.live_traffic import live_traffic


@pytest.fixture
def traffic(real: KubernetesCluster, server: ApiServer) -> Traffic:
    """A canary with its first share, whose step has passed."""
    traffic, _ = live_traffic(real, server)
    traffic.permit(0, 1.0)
    traffic.shift(1, traffic.plan.all_steps[0], 1.0)
    traffic.permit(1, 2.0)
    return traffic


def phase(traffic: Traffic) -> Phase:
    [claim] = traffic.claims()
    return claim.phase


def test_it_is_paused_stopped_and_sent_back_at_a_terminal(
    traffic: Traffic, real: KubernetesCluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [
        "--kubeconfig",
        str(kubeconfig),
        "-n",
        real.namespace,
        "--who",
        "anna",
        "--reason",
        "an incident",
    ]

    def run(*words: str) -> str:
        assert main([*words, *where]) == 0
        return capsys.readouterr().out

    assert "keeps 5 % until somebody resumes it" in run("control", "llm", "pause")
    assert phase(traffic) is Phase.PAUSED
    run("control", "routes-to-llm", "resume")
    for _ in range(2):  # and thrown anew, over what the patch of `go` owns
        assert "1 in flight, 1 of them changed" in run("stop", "--for", "10m")
        with pytest.raises(Held, match="by anna: an incident"):
            traffic.shift(2, traffic.plan.all_steps[1], 3.0)
        assert "Rollouts go on." in run("go")
        assert phase(traffic) is Phase.PROGRESSING
    traffic.shift(2, traffic.plan.all_steps[1], 3.0)
    assert "goes back to llm-pool" in run("control", "llm", "abort")
    guardian = Guardian(real, None, "guardian")
    [lease] = real.select(
        "coordination.k8s.io/v1", "Lease", {"app.kubernetes.io/managed-by": "inference-rollouts"}
    )
    real.delete(lease)  # the task that watched is gone
    [ended] = guardian.round().ended
    assert ended.why == "aborted by anna: an incident"
    events = {
        each["reason"] for each in real.events_about(real.get(GATEWAY_API, "HTTPRoute", "routes-to-llm"))
    }
    assert {"Commanded", "RolledBack"} <= events


def test_leases_that_somebody_edited_are_ours_again(
    traffic: Traffic, real: KubernetesCluster, server: ApiServer
) -> None:
    """As kubectl does it, whose the fields are from then on."""
    name = lease_name(traffic.targets[0])
    path = f"/apis/{LEASE_API}/namespaces/{real.namespace}/leases/{name}"
    mine = Watcher(real, "triggerer")
    mine.look_at(traffic.targets, traffic.frozen.token)
    edited = server.ok("GET", path)
    edited["spec"]["holderIdentity"] = "anna"
    server.ok("PUT", f"{path}?fieldManager=kubectl-edit", edited)
    Watcher(real, "another triggerer").look_at(traffic.targets, traffic.frozen.token)
    assert server.ok("GET", path)["spec"]["holderIdentity"] == "another triggerer"
