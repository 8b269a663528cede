"""How often the pods of a pool crash, all together, look after look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference_rollouts.core.objects.k8s import K8sObject, moment, part
from inference_rollouts.core.objects.readiness import restarted_at, serving_statuses

OVER = ("Failed", "Succeeded")  # phases of pods that will not serve again


@dataclass(frozen=True, slots=True)
class Crashes:
    """What was seen so far of a pool since `since` (Unix seconds); `observed` gives what is known after a
    look.

    Containers that are started anew count, those of a pod together as often as the one that was it most: what
    ends a pod's sandbox, or its node, ends them all. Pods count that come in the place of others which are
    gone without anybody having deleted them: a pod that is on its way out is seen to be. A look may be older
    than the one before it: what was seen to have happened stays so; a pod that is seen again was not lost.
    """

    since: float
    restarts: int = 0
    lost: frozenset[str] = frozenset()
    come: int = 0
    containers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    grown: Mapping[tuple[str, str], int] = field(default_factory=dict)
    serving: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """All crashes since then."""
        return self.restarts + min(len(self.lost), self.come)

    def after(self, earlier: Crashes) -> Crashes:
        """What is known where somebody else had seen `earlier` what was, and that is heard of only now.

        Who went and came while nobody looked may have been deleted: that is no crash.
        """
        both = {*self.containers, *earlier.containers}
        counts = {key: max(self.containers.get(key, 0), earlier.containers.get(key, 0)) for key in both}
        grown = dict(earlier.grown)
        for key, now in self.containers.items():
            before = earlier.containers.get(key)
            more = self.grown.get(key, 0) if before is None else max(now - before, 0)
            grown[key] = grown.get(key, 0) + more
        return replace(
            self,
            restarts=earlier.restarts + _of_pods(grown) - _of_pods(earlier.grown),
            lost=(earlier.lost - self.serving) | self.lost,
            come=earlier.come + self.come,
            containers=counts,
            grown={key: count for key, count in grown.items() if count},
        )

    def observed(self, pods: Sequence[K8sObject]) -> Crashes:
        """What is known after these pods were seen."""
        counts, grown = dict(self.containers), dict(self.grown)
        for pod in pods:
            for status in serving_statuses(pod):
                key = _id(pod), str(status.get("name"))
                now = int(status.get("restartCount") or 0)
                before = counts.get(key, now - _restarts_since(status, self.since))
                grown[key] = grown.get(key, 0) + max(now - before, 0)
                counts[key] = max(now, before)
        here = {_id(pod) for pod in pods}
        leaving = {_id(pod) for pod in pods if pod["metadata"].get("deletionTimestamp")}
        over = {_id(pod) for pod in pods if part(pod, "status").get("phase") in OVER}
        serving = here - leaving - over
        return Crashes(
            since=self.since,
            restarts=self.restarts + _of_pods(grown) - _of_pods(self.grown),
            lost=(self.lost - (here - over)) | (self.serving - here) | (self.serving & over),
            come=self.come + len(here - self.known if self.known else ()),
            containers=counts,
            grown={key: count for key, count in grown.items() if count},
            serving=frozenset(serving),
            known=self.known | here,
        )


def _of_pods(grown: Mapping[tuple[str, str], int]) -> int:
    """How often pods crashed whose containers were started anew so often."""
    most: dict[str, int] = {}
    for (pod, _), count in grown.items():
        most[pod] = max(most.get(pod, 0), count)
    return sum(most.values())


def _restarts_since(status: K8sObject, since: float) -> int:
    """How often a container that was not seen before was started anew since then, as far as it can be told.

    Kubernetes knows its last run alone: of one that began before then and ended after it the restart is the
    only one. One that began after it may have been preceded by others: all count.
    """
    if restarted_at(status) < since:
        return 0
    began = moment(part(status, "lastState", "terminated").get("startedAt"))
    return 1 if began is not None and began < since else int(status["restartCount"])


def _id(pod: K8sObject) -> str:
    """What tells a pod from another one of its name."""
    return str(pod["metadata"].get("uid") or pod["metadata"].get("name"))
