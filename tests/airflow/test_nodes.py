"""Bringing nodes, each way: asked for once, waited for, cleaned up on failure, nobody else's touched."""

from __future__ import annotations

import json

import pytest
import requests

from inference_rollouts.clients import gke
from inference_rollouts.core.errors import (
    ClusterRefused,
    GkeBusy,
    NotReady,
    QuotaExceeded,
    RolloutError,
    StockOut,
)
from inference_rollouts.core.nodes.provisioners import CLASS_LABEL, POOL_LABEL, shortage
from inference_rollouts.core.objects.ownership import RUN_LABEL, run_label
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.run.parameters import apply_parameters
from inference_rollouts.rollout.nodes import provisioner_of

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_gke import CLUSTER, NODE_POOLS, FakeGke, refusal, serving
from .test_preflight import RUN, plan

POOL = "llm-pool-version-2"
STOCKOUT = ("GCE_STOCKOUT", "The zone 'us-central1-a' does not have enough resources available.")
QUOTA = ("GCE_QUOTA_EXCEEDED", "Insufficient regional quota: NVIDIA_H200_GPUS.")
MACHINE = {
    "accelerator": "nvidia-h200-141gb",
    "count": 2,
    "machine_type": "a3-ultragpu-2g",
    "zones": ["us-central1-a"],
}
NODE_POOL = {"provisioner": "gke-node-pool", "cluster": CLUSTER, "machine": MACHINE}
CLASS = {"provisioner": "compute-class", "machines": [{"accelerator": "nvidia-l4", "count": 8}]}


def planned(nodes, **changes):
    return parse_plan(plan(nodes=nodes, **changes))


class Stage:
    """A cluster, GKE's API, and this run's provisioner."""

    def __init__(self, fake, nodes=NODE_POOL):
        self.fake, self.cluster = fake, FakeCluster()
        self.plan = planned(nodes)
        fake.on_ready = self.bring

    def bring(self, pool):
        for number in range(pool["initialNodeCount"] * len(pool["locations"])):
            count = pool["config"]["accelerators"][0]["acceleratorCount"]
            ready = [{"type": "Ready", "status": "True"}]
            labels = {POOL_LABEL: pool["name"], **pool["config"]["labels"]}
            node = {"metadata": {"name": f"{pool['name']}-{number}", "labels": labels}, "spec": {}}
            node["status"] = {"allocatable": {"nvidia.com/gpu": count}, "conditions": ready}
            self.cluster.put("v1", "Node", node)

    def provisioner(self, run=RUN):
        """As another task or triggerer would make it: nothing is kept between two."""
        return provisioner_of(self.cluster, self.plan, POOL, run)

    def looks(self, count=10):
        """What is said, look by look, until it is decided."""
        answers = []
        for _ in range(count):
            answers.append(self.provisioner().look())
            if answers[-1].phase is not Phase.WAITING:
                break
        return answers


@pytest.fixture
def api(monkeypatch):
    with serving(FakeGke()) as fake:
        connect(monkeypatch, fake, password=fake.token)
        yield fake


@pytest.fixture
def stage(api):
    return Stage(api)


def connect(monkeypatch, fake, **fields):
    value = {"conn_type": "http", "host": fake.url, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(value))


def test_a_node_pool_is_asked_for_as_the_plan_says_and_waited_for(stage):
    stage.provisioner().check()
    assert not stage.fake.asked("POST")
    stage.provisioner().ask()
    [body] = stage.fake.bodies
    assert body["name"] == POOL
    assert body["locations"] == ["us-central1-a"]
    assert body["initialNodeCount"] == 2
    config = body["config"]
    assert config["machineType"] == "a3-ultragpu-2g"
    assert config["accelerators"][0]["acceleratorCount"] == "2"
    assert config["labels"][RUN_LABEL] == run_label(RUN)
    assert "spot" not in config
    assert "autoscaling" not in body
    answers = stage.looks()
    assert answers[-1].phase is Phase.READY
    assert "2 of 2 nodes ready, 4 of 4 nvidia.com/gpu free, 3 needed" in answers[-1].message
    assert any("is PROVISIONING" in answer.message for answer in answers)


def test_all_that_a_plan_may_say_of_a_node_pool_is_asked_for(api):
    machine = MACHINE | {"spot": True, "reservation": "ours", "zones": ["us-central1-a", "us-central1-b"]}
    Stage(api, NODE_POOL | {"machine": machine, "max_nodes": 9}).provisioner().ask()
    [body] = api.bodies
    assert body["initialNodeCount"] == 1
    assert body["autoscaling"] == {"enabled": True, "totalMinNodeCount": 2, "totalMaxNodeCount": 9}
    assert body["config"]["spot"] is True
    assert body["config"]["reservationAffinity"]["values"] == ["ours"]


def test_asking_again_at_any_time_asks_for_nothing_more(stage):
    for _ in range(3):
        stage.provisioner().ask()
        stage.provisioner().look()
    stage.looks()
    stage.provisioner().ask()
    assert len(stage.fake.bodies) == 1
    assert stage.provisioner().look().phase is Phase.READY


def test_a_request_whose_answer_was_lost_was_still_made_once(stage):
    stage.fake.faults = [(), (), None]
    with pytest.raises(requests.ConnectionError):
        stage.provisioner().ask()
    stage.provisioner().ask()
    assert stage.looks()[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 1


@pytest.mark.parametrize(
    ("condition", "error"),
    [(STOCKOUT, StockOut), (QUOTA, QuotaExceeded), (("UNKNOWN", "Image not found."), NotReady)],
)
@pytest.mark.parametrize("leaves", ["ERROR", "RUNNING_WITH_ERROR", None])
def test_what_fails_is_named_by_its_code_and_cleaned_up(stage, condition, error, leaves):
    stage.fake.condition, stage.fake.leaves = condition, leaves
    stage.provisioner().ask()
    answer = stage.looks()[-1]
    assert answer.phase is Phase.FAILED
    assert " ".join(condition[:1]) in answer.message
    assert shortage(answer.message) is error
    for _ in range(6):
        gone = stage.provisioner().take_back()
    assert gone.phase is Phase.READY
    assert stage.fake.pools == {}


def test_after_a_failure_it_can_be_tried_again(stage):
    stage.fake.condition, stage.fake.leaves = STOCKOUT, None
    stage.provisioner().ask()
    assert stage.looks()[-1].phase is Phase.FAILED
    stage.fake.condition = None
    stage.provisioner().ask()
    assert stage.looks()[-1].phase is Phase.READY


@pytest.mark.parametrize("leaves", ["ERROR", "RUNNING_WITH_ERROR"])
def test_what_an_earlier_attempt_left_in_error_is_made_anew(stage, leaves):
    stage.fake.condition, stage.fake.leaves = STOCKOUT, leaves
    stage.provisioner("another/run").ask()
    assert stage.looks()[-1].phase is Phase.FAILED
    stage.fake.condition = None
    stage.provisioner().ask()
    assert stage.fake.asked("DELETE") == 1
    assert stage.looks()[-1].phase is Phase.READY
    assert stage.fake.pools[POOL]["config"]["labels"][RUN_LABEL] == run_label(RUN)


def test_what_is_done_to_other_node_pools_says_nothing_of_this_one(stage):
    stage.provisioner().ask()
    stage.fake.gone_wrong_before("another")
    assert stage.looks()[-1].phase is Phase.READY


def test_a_pool_in_error_has_failed_though_its_operation_is_forgotten(stage):
    stage.fake.condition = STOCKOUT
    stage.provisioner().ask()
    stage.looks()
    stage.fake.operations.clear()
    answer = stage.provisioner().look()
    assert (answer.phase, shortage(answer.message)) == (Phase.FAILED, StockOut)


def test_a_failure_of_another_day_is_not_todays(stage):
    stage.fake.gone_wrong_before(POOL)
    stage.provisioner().ask()
    assert stage.looks()[-1].phase is Phase.READY


def test_a_pool_that_is_still_being_deleted_is_made_anew_when_it_is_gone(stage):
    stage.provisioner().ask()
    stage.looks()
    stage.fake.polls = 5
    stage.provisioner(None).take_back()
    gone = stage.fake.pools.pop(POOL)
    stage.provisioner().ask()
    assert len(stage.fake.bodies) == 1
    stage.fake.pools[POOL] = gone
    assert stage.looks(20)[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 2


def test_two_that_ask_at_once_get_one_node_pool(stage, monkeypatch):
    other = stage.provisioner()
    monkeypatch.setattr(type(other), "_state", lambda self: (None, None))
    stage.provisioner().ask()
    other.ask()
    assert len(stage.fake.bodies) == 1


def test_a_busy_cluster_is_asked_again(stage):
    busy = refusal(400, "FAILED_PRECONDITION", "Cluster is running incompatible operation operation-7.")
    stage.fake.faults = [(), (), busy]
    stage.provisioner().ask()
    assert not stage.fake.bodies
    assert stage.looks()[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 1


@pytest.mark.parametrize("fault", [refusal(500, "INTERNAL", "oops"), refusal(503, "UNAVAILABLE", ""), None])
def test_an_api_that_fails_meanwhile_decides_nothing(stage, fault):
    stage.provisioner().ask()
    stage.fake.faults = [fault]
    with pytest.raises((GkeBusy, requests.ConnectionError)):
        stage.provisioner().look()
    assert stage.looks()[-1].phase is Phase.READY


def test_a_waiting_task_goes_on_while_the_api_fails(stage, monkeypatch):
    from inference_rollouts.hooks import checks
    from inference_rollouts.triggers.ready import look

    monkeypatch.setattr(checks, "nodes_of", lambda *_: stage.provisioner())
    stage.fake.faults = [refusal(500, "INTERNAL", "oops")]
    answer = look(stage.cluster, None, "nodes")
    assert (answer.phase, "oops" in answer.message) == (Phase.WAITING, True)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(403, "PERMISSION_DENIED", "Required container.clusters.update permission."), ClusterRefused),
        (refusal(403, "FORBIDDEN", "Insufficient regional quota to satisfy request: CPUS."), QuotaExceeded),
        (refusal(400, "INVALID_ARGUMENT", "Machine type a3-mega is invalid."), ClusterRefused),
        (refusal(401, "UNAUTHENTICATED", "Bad token."), ClusterRefused),
    ],
)
def test_a_refusal_ends_it_with_its_words(stage, answer, error):
    stage.fake.faults = [(), (), answer]
    with pytest.raises(error, match=answer[1]["error"]["message"][:20]):
        stage.provisioner().ask()


def test_a_cluster_that_is_not_there_is_told_before_anything_is_asked(api):
    other = Stage(api, NODE_POOL | {"cluster": CLUSTER.replace("prod", "prd")})
    with pytest.raises(ClusterRefused, match="knows no cluster"):
        other.provisioner().check()
    with pytest.raises(ClusterRefused, match="knows no cluster"):
        other.provisioner().ask()


def test_somebody_elses_node_pool_is_neither_used_nor_deleted(stage):
    stage.fake.pools[POOL] = {"name": POOL, "status": "ERROR", "config": {"labels": {"team": "search"}}}
    for verb in ("check", "ask"):
        with pytest.raises(ClusterRefused, match="not this plan's"):
            getattr(stage.provisioner(), verb)()
    assert stage.provisioner().take_back().phase is Phase.READY
    assert not stage.fake.asked("DELETE")


def test_a_node_pool_of_an_earlier_run_is_used_and_stays_when_this_one_fails(stage):
    stage.provisioner("earlier/run").ask()
    stage.looks()
    stage.provisioner().ask()
    assert stage.provisioner().look().phase is Phase.READY
    assert "stays" in stage.provisioner().take_back().message
    assert not stage.fake.asked("DELETE")
    assert stage.provisioner(None).take_back().phase is Phase.WAITING
    assert stage.fake.asked("DELETE") == 1


def test_other_machines_under_the_same_name_are_refused(stage):
    stage.provisioner().ask()
    stage.plan = planned(NODE_POOL | {"machine": MACHINE | {"accelerator": "nvidia-l4"}})
    with pytest.raises(ClusterRefused, match="other machines"):
        stage.provisioner().ask()


def test_what_is_still_being_created_is_deleted_when_that_is_possible(stage):
    stage.fake.polls = 1000
    stage.provisioner().ask()
    busy = refusal(400, "FAILED_PRECONDITION", "Operation operation-1 is running.")
    stage.fake.faults = [(), (), busy]
    assert "cannot be deleted yet" in stage.provisioner().take_back().message
    assert "is being deleted" in stage.provisioner().take_back().message


@pytest.mark.parametrize("connected", [True, False])
def test_without_a_password_the_workloads_own_identity_is_used(api, monkeypatch, connected):
    if connected:
        connect(monkeypatch, api, extra={"metadata_server": api.url})
    else:
        monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT")
        monkeypatch.setattr(gke, "API", api.url)
        monkeypatch.setattr(gke, "METADATA_SERVER", api.url)
    stage = Stage(api)
    stage.provisioner().ask()
    assert stage.looks()[-1].phase is Phase.READY
    assert ("POST", NODE_POOLS) in api.requests


# Compute classes


def compute_class(cluster):
    return cluster.objects.get(("ComputeClass", POOL))


@pytest.fixture
def classes():
    """A cluster that serves compute classes, and a provisioner by run."""
    cluster = FakeCluster()
    cluster.served.add(("cloud.google.com/v1", "ComputeClass"))
    return cluster, lambda run=RUN, **nodes: provisioner_of(cluster, planned(CLASS | nodes), POOL, run)


def test_a_compute_class_is_applied_and_its_nodes_are_not_waited_for(classes):
    cluster, brings = classes
    brings().check()
    assert not cluster.writes
    brings().ask()
    live = compute_class(cluster)
    assert live["spec"]["priorities"] == [
        {"gpu": {"type": "nvidia-l4", "count": 8, "driverVersion": "latest"}}
    ]
    assert live["spec"]["nodePoolAutoCreation"] == {"enabled": True}
    assert brings().look().phase is Phase.READY


def test_a_compute_class_is_deleted_only_by_the_run_that_created_it_or_when_retired(classes):
    cluster, brings = classes
    brings("first/run").ask()
    brings().ask()
    assert brings().take_back().phase is Phase.READY
    assert compute_class(cluster)
    brings("first/run").take_back()
    assert compute_class(cluster) is None
    brings().ask()
    brings(None).take_back()
    assert compute_class(cluster) is None


def test_somebody_elses_compute_class_is_refused_and_stays(classes):
    cluster, brings = classes
    cluster.put("cloud.google.com/v1", "ComputeClass", {"metadata": {"name": POOL}, "spec": {}})
    with pytest.raises(ClusterRefused, match="not this plan's"):
        brings().ask()
    brings(None).take_back()
    assert compute_class(cluster)
    assert not cluster.writes


def test_a_compute_class_that_is_named_must_exist_and_is_left_alone(classes):
    cluster, brings = classes
    nodes = {"name": "shared", "machines": []}
    with pytest.raises(ClusterRefused, match="no ComputeClass shared"):
        brings(**nodes).check()
    cluster.put("cloud.google.com/v1", "ComputeClass", {"metadata": {"name": "shared"}, "spec": {}})
    brings(**nodes).ask()
    assert brings(**nodes).look().phase is Phase.READY
    brings(None, **nodes).take_back()
    assert ("ComputeClass", "shared") in cluster.objects
    assert not cluster.writes


def test_an_unhealthy_compute_class_is_waited_for_with_its_words(classes):
    cluster, brings = classes
    brings().ask()
    condition = {"type": "Health", "status": "False", "reason": "NodePoolsMissing", "message": "none match"}
    compute_class(cluster)["status"] = {"conditions": [condition]}
    answer = brings().look()
    assert (answer.phase, "none match" in answer.message) == (Phase.WAITING, True)


def test_a_cluster_without_compute_classes_is_refused():
    with pytest.raises(ClusterRefused, match="serves no ComputeClass"):
        provisioner_of(FakeCluster(), planned(CLASS), POOL, RUN).check()


def test_pods_are_sent_to_the_nodes_that_are_brought():
    assert planned(CLASS).node_selector == {CLASS_LABEL: POOL}
    assert planned(NODE_POOL).node_selector == {POOL_LABEL: POOL}
    [toleration] = planned(CLASS).nodes.tolerations_for(POOL)
    assert (toleration["key"], toleration["value"]) == (CLASS_LABEL, POOL)


def test_a_run_may_take_other_hardware():
    changed = apply_parameters(planned(CLASS), {"accelerator": "nvidia-h200-141gb"})
    assert changed.nodes.machines[0].accelerator == "nvidia-h200-141gb"
    both = {"accelerator": "nvidia-l4", "machine_type": "g2-standard-24"}
    assert apply_parameters(planned(NODE_POOL), both).nodes.machine.machine_type == "g2-standard-24"
    existing = apply_parameters(parse_plan(plan()), {"accelerator": "nvidia-l4"}).nodes
    assert existing.selector == {"cloud.google.com/gke-accelerator": "nvidia-l4"}


@pytest.mark.parametrize(
    ("nodes", "params", "said"),
    [
        (NODE_POOL, {"accelerator": "nvidia-l4"}, "needs its machine_type"),
        (CLASS | {"machines": [], "name": "shared"}, {"accelerator": "nvidia-l4"}, "decides the hardware"),
        (NODE_POOL, {"canary": "n" * 41}, "40 characters"),
        (CLASS | {"name": "shared"}, {}, "either the name"),
        (NODE_POOL | {"cluster": "prod"}, {}, "cluster"),
        (NODE_POOL | {"machine": MACHINE | {"zones": []}}, {}, "zones"),
        ({"provisioner": "magic"}, {}, "magic"),
    ],
)
def test_hardware_that_makes_no_sense_is_refused(nodes, params, said):
    with pytest.raises(RolloutError, match=said):
        apply_parameters(planned(nodes), params)
