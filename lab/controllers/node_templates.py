"""Kinds of node that can be had, and on what terms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from lab.controllers.placement import quantity
from lab.kube.objects import Obj
from lab.scope import LAB

CONFIG = "node-templates"
TEMPLATE = "inference-rollouts.dev/node-template"
ACCELERATOR = "cloud.google.com/gke-accelerator"
CLASS = "cloud.google.com/compute-class"
MACHINE_TYPE = "node.kubernetes.io/instance-type"
SMALLEST = {"cpu": "8", "memory": "32Gi", "pods": "110"}
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Template:
    """A kind of node that can be had: `seconds` after it was ordered, at most `stock` of them (None: any
    number), or never, for the reason `refused`.
    """

    name: str
    allocatable: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    seconds: float = 0.0
    stock: int | None = None
    refused: str = ""

    @classmethod
    def read(cls, name: str, text: str) -> Template:
        """The template written as YAML or JSON; ValueError or TypeError if it is none."""
        try:
            spec = yaml.safe_load(text)
            amounts = {key: str(amount) for key, amount in spec.pop("allocatable").items()}
            for amount in amounts.values():
                quantity(amount)
            labels = {key: str(value) for key, value in spec.pop("labels", {}).items()}
            taints = spec.get("taints", ())
            spec["taints"] = tuple({**each, "key": each["key"], "effect": each["effect"]} for each in taints)
            spec["seconds"] = float(spec.get("seconds", 0))
            made = cls(name, {**SMALLEST, **amounts}, labels, **spec)
        except (yaml.YAMLError, AttributeError, KeyError, ArithmeticError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if not NAME.fullmatch(name) or not isinstance(made.stock, int | None):
            raise ValueError("the name must be that of a node, the stock a whole number")
        return made

    def node(self, name: str, lab: str | None = None) -> Obj:
        """A new node, which no kubelet has said anything about."""
        labels = {**self.labels, "kubernetes.io/hostname": name, TEMPLATE: self.name}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {**labels, **({LAB: lab} if lab else {})}},
            "spec": {"taints": [dict(taint) for taint in self.taints]},
            "status": {"capacity": dict(self.allocatable), "allocatable": dict(self.allocatable)},
        }

    def obstacle(self, nodes: list[Obj]) -> str:
        """Why there is no further node; empty if there is one."""
        short = self.stock is not None and count(nodes, self.name) >= self.stock
        return self.refused or ("GCE_STOCKOUT" if short else "")


def node_templates(machines: Mapping[str, Mapping[str, Any]]) -> Obj:
    """The ConfigMap from which the autoscaler makes such nodes."""
    data = {name: json.dumps(machine) for name, machine in machines.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": data}


def offers(compute_class: Obj, templates: Sequence[Template]) -> Iterator[Template]:
    """What a ComputeClass has to offer, in its order: templates of the accelerators and machines it names.

    The nodes carry its label and keep other pods off, as GKE's do.
    """
    name, spec = compute_class["metadata"]["name"], compute_class["spec"]
    wanted = [
        {ACCELERATOR: rule.get("gpu", {}).get("type"), MACHINE_TYPE: rule.get("machineType")}
        for rule in spec["priorities"]
        if spec.get("nodePoolAutoCreation", {}).get("enabled")
    ]
    for labels in ({key: value for key, value in rule.items() if value} for rule in wanted):
        for template in templates:
            if labels.items() <= template.labels.items():
                yield replace(
                    template,
                    name=f"{name}-{template.name}",
                    labels={**template.labels, CLASS: name},
                    taints=(*template.taints, {"key": CLASS, "value": name, "effect": "NoSchedule"}),
                )


def count(nodes: list[Obj], template: str) -> int:
    """How many of the nodes were made by the template of that name."""
    return sum((node["metadata"].get("labels") or {}).get(TEMPLATE) == template for node in nodes)
