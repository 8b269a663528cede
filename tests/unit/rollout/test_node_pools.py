"""A node pool through GKE's API: asked for once, waited for, cleaned up on failure, nobody else's touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from inference_rollouts.core.errors import (
    ClusterRefused,
    GkeBusy,
    NotReady,
    QuotaExceeded,
    StockOut,
)
from inference_rollouts.core.nodes.provisioners import POOL_LABEL, shortage
from inference_rollouts.core.objects.ownership import RUN_LABEL, run_label
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.checks import check_now
from inference_rollouts.rollout.nodes import Provisioner, provisioner_of
from inference_rollouts.rollout.run import Run
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_gke import CLUSTER, FakeGke, refusal, serving_gke
from tests.support.freezing import preflight
from tests.support.nodes import MACHINE, NODE_POOL, planned
from tests.support.plans import CANARY, RUN

STOCKOUT = ("GCE_STOCKOUT", "The zone 'us-central1-a' does not have enough resources available.")

QUOTA = ("GCE_QUOTA_EXCEEDED", "Insufficient regional quota: NVIDIA_H200_GPUS.")


class Stage:
    """A cluster, GKE's API, and this run's provisioner."""

    def __init__(self, fake: FakeGke, nodes: Any = NODE_POOL) -> None:
        self.fake, self.cluster = fake, FakeCluster()
        self.plan = planned(nodes)
        fake.on_ready = self.bring

    def bring(self, pool: dict[str, Any]) -> None:
        for number in range(pool["initialNodeCount"] * len(pool["locations"])):
            count = pool["config"]["accelerators"][0]["acceleratorCount"]
            ready = [{"type": "Ready", "status": "True"}]
            labels = {POOL_LABEL: pool["name"], **pool["config"]["labels"]}
            node: dict[str, Any] = {
                "metadata": {"name": f"{pool['name']}-{number}", "labels": labels},
                "spec": {},
            }
            node["status"] = {"allocatable": {"nvidia.com/gpu": count}, "conditions": ready}
            self.cluster.put("v1", "Node", node)

    def provisioner(self, run: str | None = RUN) -> Provisioner:
        """As another task or triggerer would make it: nothing is kept between two."""
        return provisioner_of(fake_clients(self.cluster, gke=self.fake), self.plan, CANARY, run)

    def answers(self, count: int = 10) -> list[Readiness]:
        """What is answered, one after the other, until it is decided."""
        answers = []
        for _ in range(count):
            answers.append(self.provisioner().readiness())
            if answers[-1].phase is not Phase.WAITING:
                break
        return answers


@pytest.fixture
def api() -> Iterator[FakeGke]:
    with serving_gke(FakeGke()) as fake:
        yield fake


@pytest.fixture
def stage(api: FakeGke) -> Stage:
    return Stage(api)


def test_a_node_pool_is_asked_for_as_the_plan_says_and_waited_for(stage: Stage) -> None:
    stage.provisioner().check()
    assert not stage.fake.asked("POST")
    stage.provisioner().request()
    [body] = stage.fake.bodies
    assert body["name"] == CANARY
    assert body["locations"] == ["us-central1-a"]
    assert body["initialNodeCount"] == 2
    config = body["config"]
    assert config["machineType"] == "a3-ultragpu-2g"
    assert config["accelerators"][0]["acceleratorCount"] == "2"
    assert config["labels"][RUN_LABEL] == run_label(RUN)
    assert "spot" not in config
    assert "autoscaling" not in body
    answers = stage.answers()
    assert answers[-1].phase is Phase.READY
    assert "2 of 2 nodes ready, 4 of 4 nvidia.com/gpu free, 3 needed" in answers[-1].message
    assert any("is PROVISIONING" in answer.message for answer in answers)


def test_all_that_a_plan_may_say_of_a_node_pool_is_asked_for(api: FakeGke) -> None:
    machine = MACHINE | {"spot": True, "reservation": "ours", "zones": ["us-central1-a", "us-central1-b"]}
    Stage(api, NODE_POOL | {"machine": machine, "max_nodes": 9}).provisioner().request()
    [body] = api.bodies
    assert body["initialNodeCount"] == 1
    assert body["autoscaling"] == {"enabled": True, "totalMinNodeCount": 2, "totalMaxNodeCount": 9}
    assert body["config"]["spot"] is True
    assert body["config"]["reservationAffinity"]["values"] == ["ours"]


def test_a_slice_that_cannot_be_is_refused_before_anything_is_asked(api: FakeGke) -> None:
    tpu = {"accelerator": "tpu-v6e-slice", "count": 4, "topology": "4x4", "machine_type": "ct6e-standard-4t"}
    machine = {key: value for key, value in MACHINE.items() if key == "zones"} | tpu
    with pytest.raises(ClusterRefused, match="is one slice in one zone"):
        Stage(api, NODE_POOL | {"machine": machine}).provisioner().check()
    assert not api.asked("POST")


def test_asking_again_at_any_time_asks_for_nothing_more(stage: Stage) -> None:
    for _ in range(3):
        stage.provisioner().request()
        stage.provisioner().readiness()
    stage.answers()
    stage.provisioner().request()
    assert len(stage.fake.bodies) == 1
    assert stage.provisioner().readiness().phase is Phase.READY


def test_a_request_whose_answer_was_lost_was_still_made_once(stage: Stage) -> None:
    stage.fake.faults = [(), (), None]
    with pytest.raises(requests.ConnectionError):
        stage.provisioner().request()
    stage.provisioner().request()
    assert stage.answers()[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 1


@pytest.mark.parametrize(
    ("condition", "error"),
    [(STOCKOUT, StockOut), (QUOTA, QuotaExceeded), (("UNKNOWN", "Image not found."), NotReady)],
)
@pytest.mark.parametrize("leaves", ["ERROR", "RUNNING_WITH_ERROR", None])
def test_what_fails_is_named_by_its_code_and_cleaned_up(
    stage: Stage, condition: Any, error: type[Exception], leaves: str | None
) -> None:
    stage.fake.condition, stage.fake.leaves = condition, leaves
    stage.provisioner().request()
    answer = stage.answers()[-1]
    assert answer.phase is Phase.FAILED
    assert " ".join(condition[:1]) in answer.message
    assert shortage(answer.message) is error
    for _ in range(6):
        gone = stage.provisioner().take_back()
    assert gone.phase is Phase.READY
    assert stage.fake.pools == {}


def test_after_a_failure_it_can_be_tried_again(stage: Stage) -> None:
    stage.fake.condition, stage.fake.leaves = STOCKOUT, None
    stage.provisioner().request()
    assert stage.answers()[-1].phase is Phase.FAILED
    stage.fake.condition = None
    stage.provisioner().request()
    assert stage.answers()[-1].phase is Phase.READY


@pytest.mark.parametrize("leaves", ["ERROR", "RUNNING_WITH_ERROR"])
def test_what_an_earlier_attempt_left_in_error_is_made_anew(stage: Stage, leaves: str) -> None:
    stage.fake.condition, stage.fake.leaves = STOCKOUT, leaves
    stage.provisioner("another/run").request()
    assert stage.answers()[-1].phase is Phase.FAILED
    stage.fake.condition = None
    stage.provisioner().request()
    assert stage.fake.asked("DELETE") == 1
    assert stage.answers()[-1].phase is Phase.READY
    assert stage.fake.pools[CANARY]["config"]["labels"][RUN_LABEL] == run_label(RUN)


def test_what_is_done_to_other_node_pools_says_nothing_of_this_one(stage: Stage) -> None:
    stage.provisioner().request()
    stage.fake.gone_wrong_before("another")
    assert stage.answers()[-1].phase is Phase.READY


def test_a_pool_in_error_has_failed_though_its_operation_is_forgotten(stage: Stage) -> None:
    stage.fake.condition = STOCKOUT
    stage.provisioner().request()
    stage.answers()
    stage.fake.operations.clear()
    answer = stage.provisioner().readiness()
    assert (answer.phase, shortage(answer.message)) == (Phase.FAILED, StockOut)


def test_a_failure_of_another_day_is_not_todays(stage: Stage) -> None:
    stage.fake.gone_wrong_before(CANARY)
    stage.provisioner().request()
    assert stage.answers()[-1].phase is Phase.READY


def test_a_pool_that_is_still_being_deleted_is_made_anew_when_it_is_gone(stage: Stage) -> None:
    stage.provisioner().request()
    stage.answers()
    stage.fake.polls = 5
    stage.provisioner(None).take_back()
    gone = stage.fake.pools.pop(CANARY)
    stage.provisioner().request()
    assert len(stage.fake.bodies) == 1
    stage.fake.pools[CANARY] = gone
    assert stage.answers(20)[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 2


def test_two_that_ask_at_once_get_one_node_pool(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    other = stage.provisioner()
    monkeypatch.setattr(type(other), "_state", lambda self: (None, None))
    stage.provisioner().request()
    other.request()
    assert len(stage.fake.bodies) == 1


def test_a_busy_cluster_is_asked_again(stage: Stage) -> None:
    busy = refusal(400, "FAILED_PRECONDITION", "Cluster is running incompatible operation operation-7.")
    stage.fake.faults = [(), (), busy]
    stage.provisioner().request()
    assert not stage.fake.bodies
    assert stage.answers()[-1].phase is Phase.READY
    assert len(stage.fake.bodies) == 1


@pytest.mark.parametrize("fault", [refusal(500, "INTERNAL", "oops"), refusal(503, "UNAVAILABLE", ""), None])
def test_an_api_that_fails_meanwhile_decides_nothing(stage: Stage, fault: Any) -> None:
    stage.provisioner().request()
    stage.fake.faults = [fault]
    with pytest.raises((GkeBusy, requests.ConnectionError)):
        stage.provisioner().readiness()
    assert stage.answers()[-1].phase is Phase.READY


def test_a_waiting_task_goes_on_while_the_api_fails(stage: Stage) -> None:
    clients = fake_clients(stage.cluster, gke=stage.fake)
    frozen = replace(preflight(FakeCluster()), plan=stage.plan)
    stage.fake.faults = [refusal(500, "INTERNAL", "oops")]
    answer = check_now(Run(frozen, clients, kind_of(stage.plan)), "nodes")
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
def test_a_refusal_ends_it_with_its_words(stage: Stage, answer: Any, error: type[Exception]) -> None:
    stage.fake.faults = [(), (), answer]
    with pytest.raises(error, match=answer[1]["error"]["message"][:20]):
        stage.provisioner().request()


def test_a_cluster_that_is_not_there_is_told_before_anything_is_asked(api: FakeGke) -> None:
    other = Stage(api, NODE_POOL | {"cluster": CLUSTER.replace("prod", "prd")})
    with pytest.raises(ClusterRefused, match="knows no cluster"):
        other.provisioner().check()
    with pytest.raises(ClusterRefused, match="knows no cluster"):
        other.provisioner().request()


def test_somebody_elses_node_pool_is_neither_used_nor_deleted(stage: Stage) -> None:
    stage.fake.pools[CANARY] = {"name": CANARY, "status": "ERROR", "config": {"labels": {"team": "search"}}}
    for verb in ("check", "request"):
        with pytest.raises(ClusterRefused, match="not this plan's"):
            getattr(stage.provisioner(), verb)()
    assert stage.provisioner().take_back().phase is Phase.READY
    assert not stage.fake.asked("DELETE")


def test_a_node_pool_of_an_earlier_run_is_used_and_stays_when_this_one_fails(stage: Stage) -> None:
    stage.provisioner("earlier/run").request()
    stage.answers()
    stage.provisioner().request()
    assert stage.provisioner().readiness().phase is Phase.READY
    assert "stays" in stage.provisioner().take_back().message
    assert not stage.fake.asked("DELETE")
    assert stage.provisioner(None).take_back().phase is Phase.WAITING
    assert stage.fake.asked("DELETE") == 1


def test_other_machines_under_the_same_name_are_refused(stage: Stage) -> None:
    stage.provisioner().request()
    stage.plan = planned(NODE_POOL | {"machine": MACHINE | {"accelerator": "nvidia-l4"}})
    with pytest.raises(ClusterRefused, match="other machines"):
        stage.provisioner().request()


def test_what_is_still_being_created_is_deleted_when_that_is_possible(stage: Stage) -> None:
    stage.fake.polls = 1000
    stage.provisioner().request()
    busy = refusal(400, "FAILED_PRECONDITION", "Operation operation-1 is running.")
    stage.fake.faults = [(), (), busy]
    assert "cannot be deleted yet" in stage.provisioner().take_back().message
    assert "is being deleted" in stage.provisioner().take_back().message
