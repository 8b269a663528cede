"""Pods are judged by what they went through in this rollout, and each Deployment by what it is for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.objects.workloads import Demand, demand_of, in_question, workload_readiness

BEGAN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()
JANUARY, AT_START = "2026-01-10T08:00:00Z", "2026-03-01T12:00:00Z"


def after(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(want: int = 3, available: int = 0, **conditions: str) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "d", "generation": 2},
        "spec": {"replicas": want},
        "status": {
            "observedGeneration": 2,
            "replicas": want,
            "updatedReplicas": want,
            "availableReplicas": available,
            "conditions": [
                {"type": kind, "status": "False", "reason": reason} for kind, reason in conditions.items()
            ],
        },
    }


def pod(
    name: str = "p", *, ready: bool = False, created: str = AT_START, template: str = "new", **status: Any
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {"pod-template-hash": template},
        },
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}], **status},
    }


def crashed(times: int, ended: str) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1, "finishedAt": ended}}
    return {"restartCount": times, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}


def answer(
    *pods: dict[str, Any], at: float = 0.0, live: Any = None, demand: Demand = Demand.EVERY_POD
) -> Readiness:
    return workload_readiness(live or deployment(), pods, BEGAN, BEGAN + at, demand)


def test_crashes_before_the_rollout_are_no_crash_loop_in_it() -> None:
    old = pod(created=JANUARY, containerStatuses=[crashed(3, JANUARY)])
    assert answer(old).phase is Phase.WAITING
    again = pod(created=JANUARY, containerStatuses=[crashed(4, after(5))])
    assert answer(again).phase is Phase.FAILED


@pytest.mark.parametrize("statuses", ["containerStatuses", "initContainerStatuses"])
def test_a_pod_that_the_rollout_made_counts_with_all_its_crashes(statuses: str) -> None:
    """Also where the kubelet forgot when they were."""
    status = {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    crashing: dict[str, Any] = {statuses: [status]}
    failed = answer(pod(**crashing))
    assert failed.phase is Phase.FAILED
    assert "pod p crashed 3 times (CrashLoopBackOff)" in failed.message


def test_pods_of_an_earlier_template_say_nothing_of_this_one() -> None:
    """A canary that was given up is deployed anew under its name: its last pods still crash."""
    old = pod("old", created=JANUARY, template="old", containerStatuses=[crashed(9, after(5))])
    fresh = pod("fresh", created=after(1), containerStatuses=[waiting("ContainerCreating")])
    assert answer(old, fresh).phase is Phase.WAITING
    assert "CrashLoop" not in answer(old, fresh).message
    unseen = deployment()
    unseen["status"]["observedGeneration"] = 1
    assert answer(old, live=unseen).phase is Phase.WAITING
    leaving = pod("leaving", containerStatuses=[crashed(9, after(5))])
    leaving["metadata"]["deletionTimestamp"] = after(6)
    assert answer(leaving, fresh).phase is Phase.WAITING


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "ErrImagePull", "ImagePullBackOff"])
def test_what_may_pass_is_given_a_minute_and_then_told_in_its_words(reason: str) -> None:
    stuck = pod(containerStatuses=[waiting(reason, "secret hf-token not found")])
    assert answer(stuck, at=59).phase is Phase.WAITING
    failed = answer(stuck, at=60)
    assert failed.phase is Phase.FAILED
    assert f"pod p cannot start: {reason} (secret hf-token not found)" in failed.message


@pytest.mark.parametrize(
    "change",
    [
        {"startTime": after(600)},
        {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": after(600)}]},
    ],
)
def test_the_minute_begins_when_the_pod_has_a_node(change: dict[str, Any]) -> None:
    late = pod(containerStatuses=[waiting("CreateContainerConfigError")], **change)
    assert answer(late, at=655).phase is Phase.WAITING
    assert answer(late, at=660).phase is Phase.FAILED


def test_the_minute_begins_anew_when_the_kubelet_tells_something_new() -> None:
    moving = pod(containerStatuses=[waiting("ErrImagePull", "not found")])
    moving["metadata"]["managedFields"] = [{"manager": "kubelet", "time": after(100)}]
    assert answer(moving, at=155).phase is Phase.WAITING
    assert answer(moving, at=161).phase is Phase.FAILED


@pytest.mark.parametrize("words", ["dial tcp: i/o timeout", "429 Too Many Requests", "unexpected EOF"])
def test_a_pull_that_broke_on_the_way_is_left_to_the_deadline_of_the_workload(words: str) -> None:
    """A large image takes longer than a minute to be pulled again."""
    assert answer(pod(containerStatuses=[waiting("ErrImagePull", words)]), at=900).phase is Phase.WAITING


def test_a_pod_that_does_not_say_since_when_is_left_to_the_deadline_of_the_workload() -> None:
    timeless = pod(containerStatuses=[waiting("CreateContainerConfigError")])
    del timeless["metadata"]["creationTimestamp"]
    assert answer(timeless, at=1e6).phase is Phase.WAITING


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_what_never_passes_fails_at_once(reason: str) -> None:
    assert answer(pod(containerStatuses=[waiting(reason)])).phase is Phase.FAILED


LEADER = [pod("leader", ready=True), pod("b"), pod("c")]
STUCK = {"Available": "MinimumReplicasUnavailable", "Progressing": "ProgressDeadlineExceeded"}


def test_one_ready_pod_of_a_picker_suffices() -> None:
    """With leader election the others are never Ready, and the Deployment makes no progress for ever."""
    live = deployment(3, 1, **STUCK)
    assert answer(*LEADER, live=live, demand=Demand.ONE_POD).phase is Phase.READY
    assert answer(*LEADER, live=live).phase is Phase.FAILED
    assert answer(*LEADER, live=deployment(3, 1)).phase is Phase.WAITING


def test_a_picker_without_a_ready_pod_of_its_template_is_not_ready() -> None:
    assert answer(pod(), live=deployment(1), demand=Demand.ONE_POD).phase is Phase.WAITING
    replaced = deployment(3, 1)
    replaced["status"] |= {"updatedReplicas": 1, "replicas": 4}
    assert answer(*LEADER, live=replaced, demand=Demand.ONE_POD).phase is Phase.WAITING
    loop = pod(containerStatuses=[crashed(3, after(5))])
    assert answer(loop, live=deployment(1), demand=Demand.ONE_POD).phase is Phase.FAILED


def test_a_picker_that_is_a_set_never_has_all_its_pods_where_one_leads() -> None:
    """A StatefulSet makes the next one when the one before is Ready."""
    live = deployment(3, 1) | {"kind": "StatefulSet"}
    live["status"] |= {"replicas": 2, "updatedReplicas": 2}
    assert answer(*LEADER[:2], live=live, demand=Demand.ONE_POD).phase is Phase.READY
    assert answer(*LEADER[1:], live=live, demand=Demand.ONE_POD).phase is Phase.WAITING
    assert answer(*LEADER[:2], live=live, demand=Demand.EVERY_POD).phase is Phase.WAITING


def test_what_prepared_a_pod_and_was_tried_again_is_no_crash_once_it_has_done_it() -> None:
    download = {"restartCount": 4, "state": {"terminated": {"exitCode": 0}}}
    assert answer(pod(initContainerStatuses=[download])).phase is Phase.WAITING
    download["state"] = {"terminated": {"exitCode": 1}}
    assert answer(pod(initContainerStatuses=[download])).phase is Phase.FAILED


def told(reason: str, message: str, kind: str = "Warning", at: str = AT_START) -> dict[str, Any]:
    return {"reason": reason, "message": message, "type": kind, "lastTimestamp": at}


QUOTA = 'pods "d-1" is forbidden: exceeded quota: gpus, requested: 8, used: 8, limited: 8'


def test_a_quota_or_a_webhook_that_refuses_pods_is_named() -> None:
    """Deployments say it in a condition, others in Events alone."""
    refused = deployment(3, 0)
    refused["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA}
    ]
    assert answer(live=refused).message == f"0 of 3 pods of d available: FailedCreate: {QUOTA}"
    late = deployment(3, 0, Progressing="ProgressDeadlineExceeded")
    late["status"]["conditions"] += refused["status"]["conditions"]
    assert QUOTA in answer(live=late).message
    events = [told("FailedCreate", "older", at=JANUARY), told("FailedCreate", QUOTA), told("Odd", "")]
    by_events = workload_readiness(groups(readyReplicas=0), [], BEGAN, BEGAN, events=events)
    assert by_events.message == f"0 of 2 groups of d available: FailedCreate: {QUOTA}"


def test_a_volume_that_cannot_be_had_is_named() -> None:
    starting = pod(containerStatuses=[waiting("ContainerCreating")])
    starting["spec"] = {"nodeName": "n"}
    events = [
        told("Pulled", "an image", "Normal", after(9)),
        told("FailedMount", 'MountVolume.SetUp failed for volume "weights"', at=after(5)),
        told("FailedScheduling", "0/3 nodes are available", at=after(7)),
    ]
    words = workload_readiness(deployment(1), [starting], BEGAN, BEGAN, events=events).message
    assert words.endswith('ContainerCreating; FailedMount: MountVolume.SetUp failed for volume "weights"')


def test_events_are_asked_for_of_what_they_can_explain_alone() -> None:
    starting = pod("starts", containerStatuses=[waiting("ContainerCreating")])
    starting["spec"] = {"nodeName": "n"}
    running = pod("runs", containerStatuses=[{"state": {"running": {}}}])
    running["spec"] = {"nodeName": "n"}
    live = deployment(2)
    assert in_question(live, [running, starting]) == [starting]
    assert in_question(live, [running]) == [live]
    assert in_question(live, [running, running]) == []


@pytest.mark.parametrize(
    ("told_why", "phase"),
    [("toomanyrequests: Rate exceeded", Phase.WAITING), ("llm:v2: not found", Phase.FAILED)],
)
def test_a_pull_is_judged_by_what_went_wrong_also_where_the_pod_says_only_that_it_is_tried_again(
    told_why: str, phase: Phase
) -> None:
    """As kubelets before 1.32 do."""
    stuck = pod(containerStatuses=[waiting("ImagePullBackOff", 'Back-off pulling image "llm:v2"')])
    events = [
        told("Failed", "Error: ErrImagePull", at=after(9)),
        told("Failed", f"Failed to pull image: {told_why}"),
    ]
    seen = workload_readiness(deployment(1), [stuck], BEGAN, BEGAN + 900, events=events)
    assert seen.phase is phase
    assert answer(stuck, at=900).phase is Phase.FAILED, "nobody knows why"


def test_a_busy_node_makes_a_container_late() -> None:
    late = pod(containerStatuses=[waiting("CreateContainerError", "context deadline exceeded")])
    assert answer(late, at=900).phase is Phase.WAITING


def test_other_deployments_are_ready_by_their_condition() -> None:
    live = deployment(3, 2)
    assert answer(*LEADER, live=live, demand=Demand.AVAILABLE).phase is Phase.WAITING
    live["status"]["conditions"] = [{"type": "Available", "status": "True"}]
    assert answer(*LEADER, live=live, demand=Demand.AVAILABLE).phase is Phase.READY
    assert answer(pod(), live=live, demand=Demand.AVAILABLE).phase is Phase.WAITING


def manifest(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def pods_labelled(**labels: str) -> dict[str, Any]:
    return {"template": {"metadata": {"labels": labels}}}


@pytest.mark.parametrize(
    "pool",
    [
        {"selector": {"matchLabels": {"pool": "new"}}, "endpointPickerRef": {"name": "epp"}},
        {"selector": {"pool": "new"}, "targetPortNumber": 8000, "extensionRef": {"name": "epp"}},
    ],
)
def test_what_a_deployment_is_for_is_told_by_pool_and_service(pool: dict[str, Any]) -> None:
    server = manifest("Deployment", "llm", **pods_labelled(pool="new", app="vllm"))
    picker = manifest("Deployment", "any", **pods_labelled(app="epp"))
    other = manifest("Deployment", "cache", **pods_labelled(app="cache"))
    service = manifest("Service", "epp", selector={"app": "epp"})
    everything = [server, picker, other, service, manifest("InferencePool", "new", **pool)]
    demands = [demand_of(each, everything) for each in (server, picker, other)]
    assert demands == [Demand.EVERY_POD, Demand.ONE_POD, Demand.AVAILABLE]


odd = st.none() | st.booleans() | st.text(max_size=3) | st.just(AT_START)
listed = st.none() | st.text(max_size=2)
container = st.fixed_dictionaries(
    {},
    optional={
        "restartCount": st.none() | st.integers(0, 5),
        "state": st.fixed_dictionaries(
            {},
            optional={
                "waiting": odd
                | st.fixed_dictionaries({}, optional={"reason": st.just("ErrImagePull"), "message": odd}),
                "running": odd,
            },
        )
        | odd,
        "lastState": odd
        | st.fixed_dictionaries({"terminated": st.fixed_dictionaries({}, optional={"finishedAt": odd})}),
    },
)
pods = st.builds(
    lambda status, created: {"metadata": {"name": "p", "creationTimestamp": created}, "status": status},
    odd
    | st.fixed_dictionaries(
        {},
        optional={
            "conditions": listed
            | st.lists(
                odd
                | st.fixed_dictionaries({}, optional={"type": odd, "status": odd, "lastTransitionTime": odd}),
                max_size=2,
            ),
            "containerStatuses": listed | st.lists(odd | container, max_size=2),
            "initContainerStatuses": listed | st.lists(odd | container, max_size=2),
            "startTime": odd,
        },
    ),
    odd,
)


@given(st.lists(pods, max_size=3), st.sampled_from(Demand))
def test_no_pod_however_odd_raises_or_is_ready(odd_pods: list[dict[str, Any]], demand: Demand) -> None:
    assert answer(*odd_pods, demand=demand, at=1000).phase is not Phase.READY


def groups(**status: Any) -> dict[str, Any]:
    """A LeaderWorkerSet of two groups, as its controller reports on it."""
    status = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2} | status
    spec = {"replicas": 2, "leaderWorkerTemplate": {"size": 2, "workerTemplate": {}}}
    return {
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "d", "generation": 2},
        "spec": spec,
        "status": status,
    }


def test_a_group_is_ready_when_its_leader_and_all_workers_are() -> None:
    """Older controllers say nothing of the generation that they saw."""
    assert answer(live=groups()).phase is Phase.READY
    partly = answer(live=groups(readyReplicas=1))
    assert partly.phase is Phase.WAITING
    assert partly.message == "1 of 2 groups of d available"
    assert answer(live=groups(observedGeneration=1)).phase is Phase.WAITING
    assert answer(live=groups(updatedReplicas=0)).phase is Phase.WAITING


def test_a_worker_that_cannot_start_fails_its_set() -> None:
    worker = pod("d-0-1", containerStatuses=[waiting("InvalidImageName")])
    failed = answer(worker, live=groups(readyReplicas=0))
    assert failed.phase is Phase.FAILED
    assert "LeaderWorkerSet d: pod d-0-1 cannot start" in failed.message
