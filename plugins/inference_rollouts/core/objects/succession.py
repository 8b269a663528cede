"""Who takes whose place: stable's objects and pods with the canary's, and any object that names them.

An object is copied whole, less what an API server or a controller says of it, and names the canary wherever
it named stable: by kind and name, as the host of a Service, or by the labels of its pods.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, labels_of, part, parts
from inference_rollouts.core.objects.measured import measuring
from inference_rollouts.core.objects.ownership import OWNER_LABEL
from inference_rollouts.core.objects.selectors import FIELDS, TERMS, Labels, selector_of, selects
from inference_rollouts.core.objects.workload_kinds import CONTROLLED

POOL_LABEL = "inference-pool"
"""The label by which the metrics of two pools are told apart."""

REFERENCES = ("targetRef", "targetRefs", "scaleTargetRef", "poolRef", "host")
"""The fields of a spec by which an object is attached to another."""
# A label that says who pods are comes before one that says what they do.
_IDENTITIES = ("app.kubernetes.io/instance", "app.kubernetes.io/name", "app", "k8s-app", "name")
_LONGEST_LABEL = 63
# What tools that keep a cluster as git says know their objects by: a copy with it would be pruned.
_TRACKING = re.compile(
    r"^(app\.kubernetes\.io/instance|helm\.sh/chart|.*argocd\.argoproj\.io/.*|.*toolkit\.fluxcd\.io/.*"
    r"|meta\.helm\.sh/.*|kubectl\.kubernetes\.io/last-applied-configuration|deployment\.kubernetes\.io/.*"
    r"|autoscaling\.alpha\.kubernetes\.io/.*|cloud\.google\.com/neg-status|inference-rollouts\.dev/.*)$"
)
_DEFAULT_KINDS = {"scaleTargetRef": "Deployment", "endpointPickerRef": "Service", "extensionRef": "Service"}
AUTOSCALERS = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})
"""The kinds that make a workload larger and smaller by what they measure."""
_OF_SERVICES = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies")


@dataclass(frozen=True, slots=True)
class Succession:
    """Of `stable` by `canary`: `names` of objects by kind and name, `labels` of pods by key and value.

    `servers` are the labels of stable's model servers, one entry for each sort of pod, `new_servers` those of
    the canary's, which `selector` chooses; `pickers` and `new_pickers` those of the endpoint pickers.
    """

    stable: str
    canary: str
    names: Mapping[tuple[str, str], str]
    labels: Mapping[tuple[str, str], str]
    servers: tuple[Labels, ...]
    new_servers: tuple[Labels, ...]
    selector: Labels
    pickers: tuple[Labels, ...] = ()
    new_pickers: tuple[Labels, ...] = ()

    def name_for(self, name: str) -> str:
        """The name of a copy."""
        return renamed(name, self.stable, self.canary)

    def chooses_stable(self, selector: K8sObject) -> bool:
        return any(selects(selector, labels) for labels in (*self.servers, *self.pickers))

    def chooses_canary(self, selector: K8sObject) -> bool:
        return any(selects(selector, labels) for labels in (*self.new_servers, *self.new_pickers))

    def is_attached(self, obj: K8sObject) -> bool:
        """Whether an object is attached to something of stable's, or chooses stable's pods and not the new.

        A NetworkPolicy is also by those whom it lets in or out.
        """
        spec = part(obj, "spec")
        if any(self.retargeted(spec[field], field) != spec[field] for field in REFERENCES if field in spec):
            return True
        chosen = [selector_of(obj), *(_peers(obj) if obj["kind"] == "NetworkPolicy" else ())]
        return any(
            each is not None and self.chooses_stable(each) and not self.chooses_canary(each)
            for each in chosen
        )

    def covers_both(self, obj: K8sObject) -> bool:
        """Whether an object chooses stable's pods and the canary's alike."""
        selector = selector_of(obj)
        return selector is not None and self.chooses_stable(selector) and self.chooses_canary(selector)

    def mentions(self, obj: K8sObject) -> bool:
        """Whether an object names something of stable's anywhere."""
        rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
        return bool(self.retargeted(rest, labels={}) != rest)

    def copy_of(self, obj: K8sObject) -> dict[str, Any]:
        """The same object for the canary."""
        old = obj["metadata"]
        meta: dict[str, Any] = {"name": self.name_for(old["name"])}
        if "namespace" in old:
            meta["namespace"] = old["namespace"]
        labels = {k: v for k, v in labels_of(obj).items() if not _TRACKING.match(k) and k != OWNER_LABEL}
        annotations = {k: v for k, v in annotations_of(obj).items() if not _TRACKING.match(k)}
        if labels:
            meta["labels"] = self._labels(labels)
        if annotations:
            meta["annotations"] = annotations
        made = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta}
        for key, value in obj.items():
            if key not in (*made, "status"):
                made[key] = self.retargeted(value)
        if isinstance(made.get("spec"), Mapping):
            made["spec"] = self._spec(obj, made["spec"])
            if obj["kind"] in AUTOSCALERS:
                made["spec"] = self._scaling(measuring(made["spec"], self.measured))
        return made

    @property
    def measured(self) -> Mapping[str, str]:
        """By what names metrics know stable's pool, workloads, Services and pods, with the canary's."""
        return {value: new for (_, value), new in self.labels.items()} | {
            name: new for (_, name), new in self.names.items()
        }

    def _scaling(self, spec: dict[str, Any]) -> dict[str, Any]:
        """KEDA's may name the autoscaler that it is to make, which stable's would then share."""
        advanced = part(spec, "advanced")
        made = part(advanced, "horizontalPodAutoscalerConfig")
        if "name" not in made:
            return spec
        named = {**made, "name": self.name_for(str(made["name"]))}
        return {**spec, "advanced": {**advanced, "horizontalPodAutoscalerConfig": named}}

    def retargeted(
        self, value: Any, key: str = "", labels: Mapping[tuple[str, str], str] | None = None
    ) -> Any:
        """A value, which stands under `key`, with the canary's names and labels in place of stable's."""
        match value:
            case Mapping():
                return self._mapping(value, key, self.labels if labels is None else labels)
            case list() | tuple():
                return [self.retargeted(each, key, labels) for each in value]
            case str() if key in ("host", "hosts"):
                return self._host(value)
            case _:
                return value

    def _mapping(self, value: K8sObject, key: str, labels: Mapping[tuple[str, str], str]) -> dict[str, Any]:
        if key in ("matchLabels", "labels") or (key == "selector" and not TERMS & value.keys()):
            return {k: labels.get((k, v), v) if isinstance(v, str) else v for k, v in value.items()}
        made = {each: self.retargeted(inner, each, labels) for each, inner in value.items()}
        if key == "matchExpressions" and isinstance(value.get("values"), list):
            made["values"] = [labels.get((str(value.get("key")), each), each) for each in value["values"]]
        kind = value.get("kind") or _DEFAULT_KINDS.get(key)
        if (kind, value.get("name")) in self.names:
            made["name"] = self.names[str(kind), str(value["name"])]
        return made

    def _spec(self, obj: K8sObject, spec: dict[str, Any]) -> dict[str, Any]:
        """What more the spec of a copy needs: to choose the new pods, and to be of the canary alone."""
        selector, now = selector_of(obj), selector_of({**obj, "spec": spec})
        serving = selector is not None and any(selects(selector, labels) for labels in self.servers)
        if serving and now is not None and not self.chooses_canary(now):
            field = next(each for each in FIELDS if each in spec)
            bare = not TERMS & part(obj, "spec", field).keys()
            spec |= {field: dict(self.selector) if bare else {"matchLabels": dict(self.selector)}}
        if (service := spec.get("serviceName")) and ("Service", service) in self.names:  # of a StatefulSet
            spec |= {"serviceName": self.names["Service", service]}
        if isinstance(targets := part(obj, "spec").get("targetRefs"), list):
            ours = [each for each, old in zip(spec["targetRefs"], targets, strict=True) if each != old]
            spec |= {"targetRefs": ours or spec["targetRefs"]}
        if obj["kind"] == "Service":
            kept = spec.get("clusterIP") == "None"
            spec = {k: v for k, v in spec.items() if k not in _OF_SERVICES} | (
                {"clusterIP": "None"} if kept else {}
            )
        return spec

    def _labels(self, labels: Labels) -> dict[str, str]:
        return {key: self.labels.get((key, value), value) for key, value in labels.items()}

    def _host(self, host: str) -> str:
        name, dot, rest = host.partition(".")
        new = self.names.get(("Service", name))
        return host if new is None else f"{new}{dot}{rest}"


def renamed(name: str, stable: str, canary: str) -> str:
    """A name for the canary's of what stable has under this one."""
    return name.replace(stable, canary, 1) if stable in name else f"{name}-{canary}"


def label_changes(
    selectors: Iterable[Labels],
    stable: str,
    canary: str,
    pods: Iterable[Labels],
    otherwise: str,
    given: Mapping[tuple[str, str], str] | None = None,
) -> dict[tuple[str, str], str]:
    """The labels that must be others on the canary's pods, so that none of stable's `selectors` chooses them.

    In each the labels that name stable; where none does, the one that says who the pods are becomes
    `otherwise`. Those of `given` are decided, by a controller that sets them, and what numbers pods stays.
    """
    changed = dict(given or {}) | {
        (POOL_LABEL, labels[POOL_LABEL]): canary
        for labels in pods
        if labels.get(POOL_LABEL, canary) != canary
    }
    for labels in selectors:
        if changed.keys() & labels.items():
            continue
        known = {key: value for key, value in labels.items() if key not in CONTROLLED}
        naming = [pair for pair in known.items() if stable in pair[1]]
        for key, value in naming or _identity(known):
            new = renamed(value, stable, canary) if stable in value else otherwise
            changed[key, value] = new if len(new) <= _LONGEST_LABEL else otherwise
    return changed


def _identity(labels: Labels) -> list[tuple[str, str]]:
    known = [key for key in _IDENTITIES if key in labels]
    first = next(iter([*known, *sorted(labels)]), None)
    return [] if first is None else [(first, labels[first])]


def _peers(policy: K8sObject) -> list[K8sObject]:
    """The pods of its own namespace that a NetworkPolicy lets in or out."""
    rules = [(rule, side) for way, side in _WAYS for rule in parts(policy, "spec", way)]
    peers = [peer for rule, side in rules for peer in parts(rule, side)]
    return [
        part(each, "podSelector")
        for each in peers
        if "podSelector" in each and "namespaceSelector" not in each
    ]


_WAYS = (("ingress", "from"), ("egress", "to"))
