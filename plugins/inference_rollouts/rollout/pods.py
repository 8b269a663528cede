"""The pods of a pool, and where their model servers listen."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.errors import ClusterRefused, ServerUnavailable
from inference_rollouts.core.objects.inference_pool import pod_labels, ports, server_name
from inference_rollouts.core.objects.k8s import K8sObject, part, parts
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.serving.adapters import process_of
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.rollout.targets import find_pool

NO_PORT = 0
PROBES = ("readinessProbe", "startupProbe", "livenessProbe")


@dataclass(frozen=True, slots=True)
class Server:
    """A ready model server: its pod, with its port where there are several, its `process` (one that was
    restarted is another), and where it listens, empty where nobody knows."""

    pod: str
    process: str
    url: str


def pods_of(cluster: Reader, pool: str) -> list[K8sObject]:
    """The pods that an InferencePool selects; none when there is no such pool."""
    live = find_pool(cluster, pool)
    labels = pod_labels(live) if live else {}
    if live and not labels:
        raise ClusterRefused(f"InferencePool {pool} selects pods by nothing; give it matchLabels.")
    return cluster.select("v1", "Pod", labels) if live else []


def base_url(pod: K8sObject, port: int) -> str:
    """Where a pod's model server listens, by HTTPS if that is how its probes ask it, or it has a certificate.

    Raises ServerUnavailable for a pod that has no address yet.
    """
    try:
        address = ip_address(pod["status"]["podIP"])
    except (KeyError, ValueError):
        raise ServerUnavailable(f"Pod {pod['metadata']['name']} has no IP address yet.") from None
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{'https' if _speaks_tls(pod, port) else 'http'}://{host}:{port}"


def _speaks_tls(pod: K8sObject, port: int) -> bool:
    """Whether a kubelet asks the container that has this port by HTTPS, or it is started with a certificate.

    Where none names the port any may have it: a port need not be named.
    """
    containers = parts(pod, "spec", "containers")
    named = [
        each
        for each in containers
        if any(known.get("containerPort") == port for known in parts(each, "ports"))
    ]
    if any(vllm.has_certificate(each) for each in named or containers):
        return True
    for container in containers:
        probes = [part(container, probe, "httpGet") for probe in PROBES]
        names = {each.get("name") for each in parts(container, "ports") if each.get("containerPort") == port}
        if any(each.get("scheme") == "HTTPS" and each.get("port") in {port, *names} for each in probes):
            return True
    return False


def ports_in(cluster: Reader, pool: str) -> list[int]:
    """The ports at each of which the pods of a pool have a model server. Raises ClusterRefused."""
    live = find_pool(cluster, pool)
    if live is None or not (numbers := ports(live)):
        raise ClusterRefused(f"There is no InferencePool {pool} that says where its pods listen.")
    return numbers


def ready_servers(cluster: Reader, pool: str) -> tuple[Server, ...]:
    """The model servers of a pool's ready pods: one at each of its ports."""
    live = find_pool(cluster, pool)
    numbers = (ports(live) if live else []) or [NO_PORT]
    return tuple(
        _server(pod, port, numbers) for pod in ready_pods(pods_of(cluster, pool)) for port in numbers
    )


def _server(pod: K8sObject, port: int, numbers: list[int]) -> Server:
    try:
        url = base_url(pod, port) if port != NO_PORT else ""
    except ServerUnavailable:
        url = ""
    name, process = (server_name(each, port, numbers) for each in (pod["metadata"]["name"], process_of(pod)))
    return Server(name, process, url)


def servers_of(cluster: Reader, pool: str) -> dict[str, str]:
    """The base URLs of the servers of a pool's ready pods, by name. Raises ClusterRefused when there is none.

    A pod has one at each of the pool's ports.
    """
    pods = ready_pods(pods_of(cluster, pool))
    if not pods:
        raise ClusterRefused(f"InferencePool {pool} has no ready pod.")
    numbers = ports_in(cluster, pool)
    return {
        server_name(pod["metadata"]["name"], port, numbers): base_url(pod, port)
        for pod in pods
        for port in numbers
    }
