"""A run's plan, metric set and manifests as preflight froze them: all that later tasks may read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.arms import Arm, Labels, Ports, as_ports
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.takeover import Finding, Verdict
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.manifests import digest
from inference_rollouts.core.schedule.calendar import Calendar


@dataclass(frozen=True, slots=True)
class Frozen:
    """One run, decided: `run` identifies it to the cluster, `parents` are those whose conditions on pools
    and routes count, `targets` are the objects whose weights move. `stable_pods` is how many pods carried all
    traffic at preflight; `shared` names what sends traffic to the stable pool too and is not moved;
    `previews` are routes that exist from when the canary is ready until the rollout ends, one a target.
    `began` is when it was decided (Unix seconds). `token` is random: two tries of one run, or two Airflows
    with one run id, are two rollouts. `link` leads people to the run. `stable_path` is where pods have the
    old adapter from; empty: nobody has to load it, or nobody knows. `calendar` says when it may be given
    more traffic. `findings` are what the canary has of all that stable has.
    `adopted`: the canary is a pool that was there, of which nothing is changed. `version` is what was chosen
    where the plan has versions, as text; empty where not. `ports`: by side those of its pods, where each is a
    server of its own. `home`: the labels that all series of this cluster's pods have, and others' have not.
    `apart`: those of them without which pods of the same name in other clusters are not told from ours.
    """

    run: str
    plan: Plan
    parents: tuple[Parent, ...]
    targets: tuple[Target, ...]
    metric_set: MetricSet
    manifests: tuple[K8sObject, ...]
    stable_pods: int = 0
    shared: tuple[str, ...] = ()
    previews: tuple[K8sObject, ...] = ()
    began: float = 0.0
    token: str = ""
    link: str = ""
    stable_path: str = ""
    calendar: Calendar = field(default_factory=Calendar)
    findings: tuple[Finding, ...] = ()
    adopted: bool = False
    version: str = ""
    ports: Mapping[str, Ports] = field(default_factory=dict)
    home: Labels = ()
    apart: Labels = ()

    def arm(self, side: str) -> Arm:
        """The series of `stable` or `canary` in Prometheus, and how those of each server are told apart."""
        return replace(self.plan.arm(side), ports=self.ports.get(side, ()), home=self.apart)

    def arm_at_home(self, side: str) -> Arm:
        """The same of this cluster alone, as far as labels tell: for times of which nobody knows the pods."""
        return replace(self.arm(side), home=self.home)

    @property
    def digest(self) -> str:
        """Tells two frozen runs apart."""
        return digest(self._content())

    def parents_for(self, route: str) -> tuple[Parent, ...]:
        """The parents whose conditions on a target of this name, or on its preview, count."""
        return tuple(parent for parent in self.parents if parent.route in ("", route))

    @property
    def storage_folder(self) -> str | None:
        """Where this run leaves its files, as a URL; None where the plan names no storage."""
        base = self.plan.storage
        return f"{base.rstrip('/')}/{self.run.replace(':', '')}" if base else None

    def to_json(self) -> dict[str, Any]:
        return {**self._content(), "digest": self.digest}

    def _content(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "plan": self.plan.model_dump(mode="json"),
            "parents": [asdict(parent) for parent in self.parents],
            "targets": [asdict(target) for target in self.targets],
            "metric_set": self.metric_set.model_dump(mode="json"),
            "manifests": list(self.manifests),
            "stable_pods": self.stable_pods,
            "shared": list(self.shared),
            "previews": list(self.previews),
            "token": self.token,
            "link": self.link,
            "began": self.began,
            "stable_path": self.stable_path,
            "calendar": self.calendar.model_dump(mode="json"),
            "adopted": self.adopted,
            "findings": [asdict(each) for each in self.findings],
            "version": self.version,
            "ports": {side: [list(port) for port in ports] for side, ports in self.ports.items()},
            "home": [list(label) for label in self.home],
            "apart": [list(label) for label in self.apart],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Frozen:
        """Raises PlanInvalid when the value is not what preflight froze, or another version of this did."""
        content = {key: item for key, item in value.items() if key != "digest"}
        if digest(content) != value.get("digest"):
            raise PlanInvalid("The frozen plan of this run was changed after preflight; start a new run.")
        try:
            return cls._read(value)
        except (LookupError, TypeError, ValueError) as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise PlanInvalid(
                "The plan of this run was frozen by a version of inference-rollouts that this one cannot "
                f"read ({words}). What it has claimed goes back; start a new run."
            ) from error

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Frozen:
        return cls(
            run=value["run"],
            plan=parse_plan(value["plan"]),
            parents=_parents(value),
            targets=tuple(Target(**target) for target in value["targets"]),
            metric_set=_metric_set(value["metric_set"]),
            manifests=tuple(value["manifests"]),
            stable_pods=value["stable_pods"],
            shared=tuple(value["shared"]),
            previews=tuple(value["previews"]),
            began=value.get("began", 0.0),
            token=value.get("token") or value["run"],
            link=value.get("link", ""),
            stable_path=value.get("stable_path", ""),
            calendar=Calendar.model_validate(value.get("calendar", {})),
            adopted=value.get("adopted", False),
            findings=tuple(
                Finding(**{**each, "verdict": Verdict(each["verdict"])}) for each in value.get("findings", ())
            ),
            version=value.get("version", ""),
            ports={side: as_ports(ports) for side, ports in value.get("ports", {}).items()},
            home=_labels(value.get("home", ())),
            apart=_labels(value.get("apart", ())),
        )


def _labels(value: Iterable[Iterable[Any]]) -> Labels:
    return tuple((str(name), str(label)) for name, label in value)


_metric_sets: WeakValueDictionary[str, MetricSet] = WeakValueDictionary()


def _metric_set(value: Mapping[str, Any]) -> MetricSet:
    """One object for all runs that are judged by the same, as long as one of them is."""
    known = _metric_sets.get(name := digest(value))
    return known or _metric_sets.setdefault(name, MetricSet.model_validate(value))


def _parents(value: Mapping[str, Any]) -> tuple[Parent, ...]:
    """Runs that were frozen before there were `parents` know one Gateway, by its name."""
    if "parents" in value:
        return tuple(Parent(**parent) for parent in value["parents"])
    return (Parent(value["gateway"]),) if value["gateway"] else ()
