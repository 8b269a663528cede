"""Node pools of GKE's API, as values: what to ask for, and what the answers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_rollouts.core.nodes.provisioners import NodePool
from inference_rollouts.core.objects.k8s import part, parts
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL, RUN_LABEL
from inference_rollouts.core.objects.readiness import Phase, Readiness

GkeObject = Mapping[str, Any]
"""A node pool, or an operation on one, as GKE's API sends it."""

# Labels of the machines in the cloud, for bills and owners; keys there have no dots and slashes.
CLOUD_PLAN_LABEL = "inference-rollouts-plan"
USABLE = ("RUNNING", "RUNNING_WITH_ERROR")


def slice_mistake(nodes: NodePool, accelerators: int) -> str:
    """Why a node pool cannot have so many accelerators: of TPUs on several machines it is one slice."""
    machine = nodes.machine
    if machine.slice_machines == 1 or (accelerators == machine.chips and len(machine.zones) == 1):
        return ""
    where = f"{len(machine.zones)} zone{'' if len(machine.zones) == 1 else 's'}"
    return (
        f"A node pool of {machine.accelerator} {machine.topology} is one slice in one zone, of "
        f"{machine.slice_machines} machines with {machine.count} chips each; {accelerators} chips are needed "
        f"in {where}: give the canary one group as large as the slice, or use a ComputeClass, which brings a "
        "slice for each group."
    )


def node_pool_body(nodes: NodePool, name: str, accelerators: int, plan: str, run: str) -> dict[str, Any]:
    """The request that creates a node pool with at least so many accelerators.

    `run` is a label value. Every zone gets as many nodes as every other.
    """
    machine, zones = nodes.machine, len(nodes.machine.zones)
    each_zone = -(-accelerators // (machine.count * zones))
    config: dict[str, Any] = {
        "machineType": machine.machine_type,
        **({} if machine.is_tpu else {"accelerators": [_accelerators(nodes)]}),
        "labels": {OWNER_LABEL: OWNER, PLAN_LABEL: plan, RUN_LABEL: run},
        "resourceLabels": {CLOUD_PLAN_LABEL: plan},
    }
    if machine.spot:
        config["spot"] = True
    if machine.reservation:
        config["reservationAffinity"] = {
            "consumeReservationType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [machine.reservation],
        }
    pool: dict[str, Any] = {
        "name": name,
        "initialNodeCount": each_zone,
        "locations": list(machine.zones),
        "config": config,
    }
    if machine.is_tpu:  # the machine type says how many chips a machine has
        pool["placementPolicy"] = {"type": "COMPACT", "tpuTopology": machine.topology}
    if nodes.max_nodes:
        sizes = {"totalMinNodeCount": each_zone * zones, "totalMaxNodeCount": nodes.max_nodes}
        pool["autoscaling"] = {"enabled": True, **sizes}
    return {"nodePool": pool}


def is_ours(pool: GkeObject, plan: str) -> bool:
    """Whether rollouts of this plan created a node pool."""
    labels = _labels(pool)
    return labels.get(OWNER_LABEL) == OWNER and labels.get(PLAN_LABEL) == plan


def is_of_run(pool: GkeObject, plan: str, run: str) -> bool:
    """Whether this very run created it."""
    return is_ours(pool, plan) and _labels(pool).get(RUN_LABEL) == run


def has_machines(pool: GkeObject, nodes: NodePool) -> bool:
    """Whether a node pool consists of the machines that a plan asks for."""
    config, wanted = part(pool, "config"), _accelerators(nodes)
    if nodes.machine.is_tpu:
        joined = part(pool, "placementPolicy").get("tpuTopology") == nodes.machine.topology
        return joined and config.get("machineType") == nodes.machine.machine_type
    present = [
        {key: str(each.get(key)) for key in ("acceleratorCount", "acceleratorType")}
        for each in parts(config, "accelerators")
    ]
    same = present == [{key: str(wanted[key]) for key in ("acceleratorCount", "acceleratorType")}]
    return same and config.get("machineType") == nodes.machine.machine_type


def newest_operation(operations: Sequence[GkeObject], cluster: str, pool: str) -> GkeObject | None:
    """The last that was done to a node pool; `cluster` is its full name.

    Operations name their target with the project's number, so only the end of it can be compared.
    """
    target = f"/clusters/{cluster.rpartition('/')[2]}/nodePools/{pool}"
    own = [each for each in operations if str(each.get("targetLink", "")).endswith(target)]
    return max(own, key=lambda each: str(each.get("startTime", "")), default=None)


def is_active(operation: GkeObject | None) -> bool:
    """Whether an operation is still going on."""
    return operation is not None and operation.get("status") in ("PENDING", "RUNNING")


def has_failed(operation: GkeObject | None) -> bool:
    """Whether an operation ended without what it was for."""
    if operation is None:
        return False
    status = operation.get("status")
    return status == "ABORTING" or (status == "DONE" and bool(operation.get("error")))


def pool_readiness(name: str, pool: GkeObject | None, operation: GkeObject | None) -> Readiness:
    """How far a node pool is, by its own status and by the newest operation on it. Ready: it has its nodes.

    A pool that is not there and of which nothing is known is waited for: it has yet to be asked for.
    """
    if has_failed(operation) and operation and operation.get("operationType") == "CREATE_NODE_POOL":
        return Readiness(Phase.FAILED, f"node pool {name}: {_explanation(operation, pool)}")
    if pool is None:
        doing = f"{operation.get('operationType')} {operation.get('status')}" if operation else "asked for"
        return Readiness(Phase.WAITING, f"node pool {name}: {doing}{_progress(operation)}")
    status = str(pool.get("status", "STATUS_UNSPECIFIED"))
    why = _explanation(None, pool)
    message = f"node pool {name} is {status}{f': {why}' if why else ''}{_progress(operation)}"
    if status == "ERROR":
        return Readiness(Phase.FAILED, message)
    return Readiness.when(status in USABLE, message)


def _explanation(operation: GkeObject | None, pool: GkeObject | None) -> str:
    """Condition codes and messages, the operation's own error first; each once."""
    reasons = []
    if operation is not None:
        reasons.append(str(part(operation, "error").get("message") or operation.get("statusMessage") or ""))
    if pool is not None:
        reasons.append(str(pool.get("statusMessage") or ""))
    conditions = [
        *parts(operation, "nodepoolConditions"),
        *parts(pool, "conditions"),
    ]
    reasons += [_condition(each) for each in conditions]
    return "; ".join(dict.fromkeys(filter(None, reasons)))


def _condition(condition: GkeObject) -> str:
    codes = [str(condition[key]) for key in ("code", "canonicalCode") if condition.get(key)]
    return f"{codes[0] if codes else 'UNKNOWN'}: {condition.get('message', '')}".rstrip(": ")


def _progress(operation: GkeObject | None) -> str:
    detail = (operation or {}).get("detail")
    return f" ({detail})" if detail and is_active(operation) else ""


def _accelerators(nodes: NodePool) -> dict[str, Any]:
    return {
        "acceleratorCount": str(nodes.machine.count),  # int64s are strings in Google's JSON
        "acceleratorType": nodes.machine.accelerator,
        "gpuDriverInstallationConfig": {"gpuDriverVersion": "LATEST"},
    }


def _labels(pool: GkeObject) -> GkeObject:
    return part(pool, "config", "labels")
