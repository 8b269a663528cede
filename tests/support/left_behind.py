"""What a promotion leaves behind, and how busy it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from inference_rollouts.clients import Clients
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.metrics import SERIES
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL, POOL_LABEL
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.retirement import Subject
from tests.support.asked_alike import AskedAlike
from tests.support.clients import fake_clients
from tests.support.fake_cluster import OBJECTIVE_API, FakeCluster, deployment
from tests.support.fake_gke import FakeGke
from tests.support.fake_servers import FakeServers
from tests.support.plans import llm_plan
from tests.support.routes import ref

OLD, NEW = "llm-pool-version-2", "llm-pool-version-3"
LONGEST = 0.3  # seconds of the longest stream


class LeftBehind(FakeCluster):
    """After a promotion from OLD, which a rollout created, to NEW."""

    def __init__(self) -> None:
        self.before: Callable[[str, str, str], object] = lambda verb, kind, name: None  # before every write
        super().__init__([ref(OLD, 0), ref(NEW, 100)])
        self.put_pool(NEW)
        self.put_pool(OLD)
        self.put("apps/v1", "Deployment", deployment(f"{OLD}-epp", 1))
        self.put("v1", "Service", {"metadata": {"name": f"{OLD}-epp"}, "spec": {}})
        objective: dict[str, Any] = {
            "metadata": {"name": f"{OLD}-standard"},
            "spec": {"poolRef": {"name": OLD}},
        }
        self.put(OBJECTIVE_API, "InferenceObjective", objective)
        for name in (OLD, f"{OLD}-epp", f"{OLD}-standard"):
            self._own(name)

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> dict[str, Any]:
        self.before("patch", kind, name)
        return super().patch(api_version, kind, name, patch)

    def delete(self, obj: K8sObject) -> None:
        self.before("delete", obj["kind"], obj["metadata"]["name"])
        super().delete(obj)

    def left(self) -> list[str]:
        """The kinds of what is still there of OLD."""
        return sorted({kind for kind, name in self.objects if name.startswith(OLD)})

    def _own(self, name: str) -> None:
        for (kind, other), obj in self.objects.items():
            if other == name and kind != "Pod":
                mine = {OWNER_LABEL: OWNER, PLAN_LABEL: "llm", POOL_LABEL: OLD}
                obj["metadata"]["labels"] = obj["metadata"].get("labels", {}) | mine


class Activity(AskedAlike):
    """What the pods of a pool tell: how many requests each has inside, how many it has answered."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.observations = 0
        self.began = 1.0
        self.inside: Callable[[int], float | None] = lambda observation: 0.0
        self.answered: Callable[[int], float] = lambda observation: 7.0
        self.asked: Callable[[int], object] = lambda observation: None

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        self.observations += 1
        self.asked(self.observations)
        if (inside := self.inside(self.observations)) is None:
            raise PrometheusUnavailable("Prometheus does not answer")
        answered = self.answered(self.observations)
        told = {"started": self.began, "inside/0": inside, "inside/1": 0.0, "answered/0": answered}
        return [
            {"metric": {SERIES: part, "pod": pod}, "value": [at, str(value)]}
            for pod in self.cluster.names("Pod")
            for part, value in told.items()
        ]


class Stage:
    """A cluster with what was left behind, what its pods tell, and the clients that see both."""

    def __init__(self, gke: FakeGke | None = None) -> None:
        self.cluster = LeftBehind()
        self.activity = Activity(self.cluster)
        self.servers = FakeServers()
        self.clients: Clients = fake_clients(
            self.cluster, prometheus=self.activity, servers=self.servers, gke=gke
        )

    def subject(self, retirement: Retirement) -> Subject:
        """As another task or triggerer would make it: nothing is kept between two."""
        return kind_of(retirement.plan).retired(self.clients, retirement)

    def found(self, plan: Plan | None = None, name: str = OLD) -> Retirement:
        """The retirement of a pool as task check freezes it."""
        wanted = Retirement(plan or llm_plan(), name, Action.REMOVE)
        return replace(wanted, objects=self.subject(wanted).find())
