"""Pods are judged by what they went through in this rollout, and each Deployment by what it is for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.objects.workloads import Demand, demand_of, workload_readiness

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
