"""The cells that `kubectl get` prints for each built-in kind, after its columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lab.apiserver.storage.selectors import selector_text
from lab.apiserver.types.schema import Object

Row = list[Any]


def age(moment: str | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl says it: 45s, 3m12s, 5h, 12d."""
    if not moment:
        return "<unknown>"
    then = datetime.fromisoformat(moment)
    seconds = int(((now or datetime.now(UTC)) - then).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _start(item: Object) -> tuple[str, str]:
    return item["metadata"]["name"], age(item["metadata"].get("creationTimestamp"))


def name_and_age(item: Object) -> Row:
    return list(_start(item))


def _pod(item: Object) -> Row:
    name, since = _start(item)
    spec, status = item["spec"], item.get("status") or {}
    states = status.get("containerStatuses") or []
    ready = sum(bool(state.get("ready")) for state in states)
    restarts = sum(state.get("restartCount", 0) for state in states)
    gates = spec.get("readinessGates")
    return [
        name,
        f"{ready}/{len(spec.get('containers') or [])}",
        _pod_state(item, states),
        str(restarts),
        since,
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        "<none>" if not gates else f"0/{len(gates)}",
    ]


def _pod_state(item: Object, states: list[Object]) -> str:
    status = item.get("status") or {}
    reason: str = status.get("reason") or status.get("phase") or ""
    for state in reversed(states):
        now = state.get("state") or {}
        waiting, ended = now.get("waiting") or {}, now.get("terminated") or {}
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended:
            reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    if item["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _deployment(item: Object) -> Row:
    name, since = _start(item)
    spec, status = item["spec"], item.get("status") or {}
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}"
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    return [name, ready, updated, available, since, *_template(spec)]


def _replicaset(item: Object) -> Row:
    name, since = _start(item)
    spec, status = item["spec"], item.get("status") or {}
    counts = [spec.get("replicas", 1), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name, *counts, since, *_template(spec)]


def _template(spec: Object) -> Row:
    containers = spec.get("template", {}).get("spec", {}).get("containers") or []
    names = ",".join(item.get("name", "") for item in containers)
    images = ",".join(item.get("image", "") for item in containers)
    return [names, images, selector_text(spec.get("selector"))]


def _service(item: Object) -> Row:
    name, since = _start(item)
    spec = item["spec"]
    ports = ",".join(
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}"
        f"/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports") or []
    )
    ingress = item.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    external = ",".join(entry.get("ip") or entry.get("hostname", "") for entry in ingress)
    if spec.get("type") == "LoadBalancer" and not external:
        external = "<pending>"
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    address = spec.get("clusterIP") or "<none>"
    return [
        name,
        spec.get("type"),
        address,
        external or "<none>",
        ports or "<none>",
        since,
        selector or "<none>",
    ]


def _node(item: Object) -> Row:
    name, since = _start(item)
    status = item.get("status") or {}
    ready = next((c["status"] for c in status.get("conditions") or [] if c["type"] == "Ready"), None)
    state = {"True": "Ready", "False": "NotReady", None: "Unknown"}.get(ready, "Unknown")
    if item["spec"].get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = sorted(
        k.removeprefix(prefix) for k in item["metadata"].get("labels") or {} if k.startswith(prefix)
    )
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or []}
    info = status.get("nodeInfo") or {}
    return [
        name,
        state,
        ",".join(roles) or "<none>",
        since,
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _namespace(item: Object) -> Row:
    name, since = _start(item)
    return [name, (item.get("status") or {}).get("phase", ""), since]


def _configmap(item: Object) -> Row:
    name, since = _start(item)
    return [name, len(item.get("data") or {}) + len(item.get("binaryData") or {}), since]


def _secret(item: Object) -> Row:
    name, since = _start(item)
    return [name, item.get("type", ""), len(item.get("data") or {}), since]


def _account(item: Object) -> Row:
    name, since = _start(item)
    return [name, len(item.get("secrets") or []), since]


def _event(item: Object) -> Row:
    about = item.get("involvedObject") or item.get("regarding") or {}
    first = item.get("firstTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp")
    series = item.get("series") or {}
    last = series.get("lastObservedTime") or item.get("lastTimestamp") or first
    source = item.get("source") or {}
    origin = source.get("component") or item.get("reportingComponent", "")
    count = series.get("count") or item.get("count") or 1
    return [
        age(last),
        item.get("type", ""),
        item.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(part for part in (origin, source.get("host", "")) if part),
        (item.get("message") or item.get("note") or "").strip(),
        age(first),
        count,
        item["metadata"]["name"],
    ]


def _lease(item: Object) -> Row:
    name, since = _start(item)
    return [name, item["spec"].get("holderIdentity", ""), since]


def _budget(item: Object) -> Row:
    name, since = _start(item)
    spec, status = item["spec"], item.get("status") or {}
    bounds = [
        str(spec[key]) if spec.get(key) is not None else "N/A" for key in ("minAvailable", "maxUnavailable")
    ]
    return [name, *bounds, status.get("disruptionsAllowed", 0), since]


def _name_and_creation(item: Object) -> Row:
    return [item["metadata"]["name"], item["metadata"].get("creationTimestamp")]


def _binding(item: Object) -> Row:
    name, since = _start(item)
    reference = item.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in item.get("subjects") or []:
        prefix = f"{subject.get('namespace', '')}/" if subject["kind"] == "ServiceAccount" else ""
        subjects[subject["kind"]].append(prefix + subject["name"])
    role = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    return [name, role, since, *(", ".join(names) for names in subjects.values())]


def _slice(item: Object) -> Row:
    name, since = _start(item)
    ports = ",".join(str(port.get("port", "*")) for port in item.get("ports") or [])
    addresses = [address for end in item.get("endpoints") or [] for address in end.get("addresses") or []]
    return [
        name,
        item.get("addressType", ""),
        ports or "<unset>",
        ",".join(addresses[:3]) or "<unset>",
        since,
    ]


def _endpoints(item: Object) -> Row:
    name, since = _start(item)
    endpoints = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    return [name, ",".join(endpoints[:3]) or "<none>", since]


def _priority(item: Object) -> Row:
    name, since = _start(item)
    return [name, item.get("value"), bool(item.get("globalDefault")), since, item.get("preemptionPolicy", "")]


HEADINGS = {
    "Pod": "Ready,Status,Restarts,Age,IP*,Node*,Nominated Node*,Readiness Gates*",
    "Deployment": "Ready,#Up-to-date,#Available,Age,Containers*,Images*,Selector*",
    "ReplicaSet": "#Desired,#Current,#Ready,Age,Containers*,Images*,Selector*",
    "Service": "Type,Cluster-IP,External-IP,Port(s),Age,Selector*",
    "Node": "Status,Roles,Age,Version,Internal-IP*,External-IP*,OS-Image*,Kernel-Version*,Container-Runtime*",
    "Namespace": "Status,Age",
    "ConfigMap": "Data,Age",
    "Secret": "Type,Data,Age",
    "ServiceAccount": "Secrets,Age",
    "Event": "Last Seen,Type,Reason,Object,Subobject*,Source*,Message,First Seen*,Count*,Name*",
    "Lease": "Holder,Age",
    "PodDisruptionBudget": "Min Available,Max Unavailable,Allowed Disruptions,Age",
    "Role": "Created At",
    "ClusterRole": "Created At",
    "RoleBinding": "Role,Age,Users*,Groups*,ServiceAccounts*",
    "ClusterRoleBinding": "Role,Age,Users*,Groups*,ServiceAccounts*",
    "CustomResourceDefinition": "Created At",
    "EndpointSlice": "AddressType,Ports,Endpoints,Age",
    "Endpoints": "Endpoints,Age",
    "PriorityClass": "#Value,Global-Default,Age,PreemptionPolicy",
}
CELLS: dict[str, Callable[[Object], Row]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replicaset,
    "Service": _service,
    "Node": _node,
    "Namespace": _namespace,
    "ConfigMap": _configmap,
    "Secret": _secret,
    "ServiceAccount": _account,
    "Event": _event,
    "Lease": _lease,
    "PodDisruptionBudget": _budget,
    "Role": _name_and_creation,
    "ClusterRole": _name_and_creation,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "CustomResourceDefinition": _name_and_creation,
    "EndpointSlice": _slice,
    "Endpoints": _endpoints,
    "PriorityClass": _priority,
}
