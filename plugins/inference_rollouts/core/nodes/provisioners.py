"""Where a canary runs: the provisioners that a plan may choose, and what each asks for."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from inference_rollouts.core.errors import NotReady, PlanInvalid, QuotaExceeded, StockOut
from inference_rollouts.core.objects.api_groups import COMPUTE_CLASS_API
from inference_rollouts.core.values import Model, Name, Text

ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
TPU_LABEL = "cloud.google.com/gke-tpu-accelerator"
TPU = "tpu"  # the accelerators that GKE names so, such as tpu-v6e-slice, are asked for in another way
CLASS_LABEL = "cloud.google.com/compute-class"
POOL_LABEL = "cloud.google.com/gke-nodepool"
MACHINE_LABEL = "node.kubernetes.io/instance-type"

NODE_POOL_NAME = re.compile(r"[a-z][-a-z0-9]{0,38}[a-z0-9]|[a-z]")

# As condition codes and as autoscalers write them.
_SHORTAGES = {
    StockOut: re.compile(
        r"stock[ _-]?out|RESOURCE_POOL_EXHAUSTED|out[ .]of[ .]resources"
        r"|not have enough resources|insufficient capacity|no more capacity|currently unavailable"
        r"|reservation\b.*\b(exhausted|fully|insufficient|not (have )?enough|no (more )?capacity)",
        re.IGNORECASE | re.DOTALL,
    ),
    QuotaExceeded: re.compile(r"quota", re.IGNORECASE),
}


class Machine(Model):
    """A kind of machine with accelerators; a reservation is named where one is to be used."""

    accelerator: Text
    """The accelerator as GKE names it, such as nvidia-h200-141gb."""
    count: Annotated[int, Field(ge=1, le=16)]
    """Accelerators of one machine."""
    machine_type: Text | None = None
    """The machine type, such as a3-ultragpu-8g. Default: any that has the accelerators."""
    topology: Annotated[str, Field(pattern=r"^\d+x\d+(x\d+)?$")] | None = None
    """How the chips of a slice of TPUs are joined, such as 2x4; TPUs alone have one, and need it."""
    spot: bool = False
    """Whether machines may be taken away at any time, at a lower price. Default: no, as clients depend on
    them."""
    reservation: Text | None = None
    """The name of a reservation to use. Default: none."""
    zones: tuple[Text, ...] = ()
    """Where machines may come from. Default: GKE chooses."""

    @model_validator(mode="after")
    def _joined(self) -> Self:
        if self.is_tpu != bool(self.topology):
            raise ValueError(f"{self.accelerator} {'needs a' if self.is_tpu else 'has no'} topology")
        if self.is_tpu and (not self.chips or self.chips % self.count):
            raise ValueError(
                f"a slice of {self.topology} has {self.chips} chips, which is no whole number of machines "
                f"with {self.count}"
            )
        return self

    @property
    def chips(self) -> int:
        """Of a slice of TPUs, which one machine has, or several together."""
        return math.prod(map(int, self.topology.split("x"))) if self.topology else 0

    @property
    def slice_machines(self) -> int:
        """How many machines make up a slice; 1 of what is no TPU."""
        return self.chips // self.count if self.is_tpu else 1

    @property
    def is_tpu(self) -> bool:
        return self.accelerator.startswith(TPU)

    def on(self, accelerator: str | None, machine_type: str | None) -> Self:
        """The same with other hardware; a machine type goes with its accelerator.

        Raises PlanInvalid where TPUs would get another topology, which only a plan can say.
        """
        accelerator = accelerator or self.accelerator
        same = accelerator == self.accelerator
        if not same and (self.is_tpu or accelerator.startswith(TPU)):
            raise PlanInvalid(
                f"{accelerator} in place of {self.accelerator} needs another plan, as to topology."
            )
        kept = self.machine_type if same else None
        return self.model_copy(update={"accelerator": accelerator, "machine_type": machine_type or kept})


class Provisioning(Model):
    """What all have. The nodes, unless they are there already, are named after the pool they are for."""

    def tolerations_for(self, pool: str) -> list[dict[str, str]]:
        """What the pods of `pool` must tolerate of their nodes, beside the accelerators' own taint."""
        return []


class ExistingNodes(Provisioning):
    """Waits for Ready nodes with free accelerators."""

    provisioner: Literal["existing"] = "existing"
    """How the canary comes to its nodes: they are there already."""
    selector: dict[str, str]
    """The labels of the nodes on which the canary's pods may run."""

    @property
    def accelerator(self) -> str | None:
        return self.selector.get(ACCELERATOR_LABEL) or self.selector.get(TPU_LABEL)

    def selector_for(self, pool: str) -> dict[str, str]:
        """The labels of the nodes that the pods of `pool` run on."""
        return dict(self.selector)

    def on(self, accelerator: str | None, machine_type: str | None) -> ExistingNodes:
        """The same with other hardware."""
        label = TPU_LABEL if (accelerator or "").startswith(TPU) else ACCELERATOR_LABEL
        wanted = {label: accelerator, MACHINE_LABEL: machine_type}
        changes = {label: value for label, value in wanted.items() if value}
        return self.model_copy(update={"selector": self.selector | changes})


class ComputeClass(Provisioning):
    """Nodes that GKE brings when pods ask for a ComputeClass, for as long as there are such pods.

    With `machines`, tried in this order, a class of the canary's name is created. With `name`, the class is
    there already.
    """

    provisioner: Literal["compute-class"]
    """How the canary comes to its nodes: GKE brings them for its pods."""
    name: Name | None = None
    """A class that exists; either this or `machines`. It is only read."""
    machines: tuple[Machine, ...] = ()
    """The machines of a class that the rollout creates, tried in this order; either this or `name`."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.name) == bool(self.machines):
            raise ValueError("give either the name of a compute class that exists, or machines for a new one")
        return self

    @property
    def accelerator(self) -> str | None:
        return self.machines[0].accelerator if self.machines else None

    def name_for(self, pool: str) -> str:
        return self.name or pool

    def selector_for(self, pool: str) -> dict[str, str]:
        """The labels of the nodes that the pods of `pool` run on."""
        return {CLASS_LABEL: self.name_for(pool)}

    def tolerations_for(self, pool: str) -> list[dict[str, str]]:
        """GKE keeps all other pods off the nodes of a class."""
        return [
            {"key": CLASS_LABEL, "operator": "Equal", "value": self.name_for(pool), "effect": "NoSchedule"}
        ]

    def on(self, accelerator: str | None, machine_type: str | None) -> ComputeClass:
        """The same with other hardware, in every of its machines."""
        if self.name and (accelerator or machine_type):
            raise PlanInvalid(f"Compute class {self.name} decides the hardware; a run cannot change it.")
        machines = tuple(machine.on(accelerator, machine_type) for machine in self.machines)
        return self.model_copy(update={"machines": tuple(dict.fromkeys(machines))})

    def manifest(self, pool: str) -> dict[str, Any]:
        """The ComputeClass for the pods of `pool`."""
        spec = {
            "priorities": [_priority(machine) for machine in self.machines],
            "nodePoolAutoCreation": {"enabled": True},
            "whenUnsatisfiable": "DoNotScaleUp",
        }
        meta = {"name": self.name_for(pool)}
        return {"apiVersion": COMPUTE_CLASS_API, "kind": "ComputeClass", "metadata": meta, "spec": spec}


class ZonedMachine(Machine):
    """A kind of machine, and the zones that each get as many of them."""

    machine_type: Text
    """The machine type, such as a3-ultragpu-8g."""
    zones: Annotated[tuple[Text, ...], Field(min_length=1)]
    """The zones, each of which gets as many machines."""


class NodePool(Provisioning):
    """A node pool of the canary's name, created through the GKE API; its size is what the replicas need.

    With `max_nodes` GKE may let it grow to so many.
    """

    provisioner: Literal["gke-node-pool"]
    """How the canary comes to its nodes: a node pool is created through GKE's API."""
    cluster: Annotated[
        str, Field(pattern=r"^projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/clusters/[a-z0-9-]+$")
    ]
    """The GKE cluster, as projects/P/locations/L/clusters/C."""
    machine: ZonedMachine
    """The machines of the pool."""
    max_nodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """To how many nodes GKE may let the pool grow. Default: it does not grow."""

    @property
    def accelerator(self) -> str | None:
        return self.machine.accelerator

    def selector_for(self, pool: str) -> dict[str, str]:
        """The labels of the nodes that the pods of `pool` run on."""
        return {POOL_LABEL: pool}

    def on(self, accelerator: str | None, machine_type: str | None) -> NodePool:
        """The same with other hardware."""
        machine = self.machine.on(accelerator, machine_type)
        if not machine.machine_type:
            raise PlanInvalid(f"A node pool with {accelerator} needs its machine_type too.")
        return self.model_copy(update={"machine": machine})


Nodes = Annotated[ExistingNodes | ComputeClass | NodePool, Field(discriminator="provisioner")]


def shortage(message: str) -> type[NotReady]:
    """The error that a failure to provide nodes stands for, by the codes in its message."""
    return next((error for error, codes in _SHORTAGES.items() if codes.search(message)), NotReady)


def _priority(machine: Machine) -> dict[str, Any]:
    chips = {"type": machine.accelerator, "count": machine.count}
    rule: dict[str, Any] = (
        {"tpu": chips | {"topology": machine.topology}}
        if machine.is_tpu
        else {"gpu": chips | {"driverVersion": "latest"}}
    )
    if machine.machine_type:
        rule["machineType"] = machine.machine_type
    if machine.spot:
        rule["spot"] = True
    if machine.reservation:
        rule["reservations"] = {"affinity": "Specific", "specific": [{"name": machine.reservation}]}
    if machine.zones:
        rule["location"] = {"zones": list(machine.zones)}
    return rule
