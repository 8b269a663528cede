"""Envoy's resources: listeners, route tables, clusters and endpoints, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.gateway.model import Target
from lab.gateway.picking import load_balancing, picker_filter
from lab.gateway.routes import Ranked
from lab.kube.conditions import is_true
from lab.kube.objects import Obj

PREFIX = "type.googleapis.com/envoy."
LISTENER = PREFIX + "config.listener.v3.Listener"
ROUTES = PREFIX + "config.route.v3.RouteConfiguration"
CLUSTER = PREFIX + "config.cluster.v3.Cluster"
ENDPOINTS = PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
MANAGER = PREFIX + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = PREFIX + "extensions.filters.http.router.v3.Router"
HTTP_OPTIONS = PREFIX + "extensions.upstreams.http.v3.HttpProtocolOptions"
MANY = 1_000_000
LONGEST_BODY = 8 * 1024 * 1024  # a picker reads whole request bodies, and retries repeat them


def file_source(path: str) -> Obj:
    """A configuration source: a file that Envoy reads again when it is replaced by a rename."""
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


def listener(address: str, port: int, routes_path: str) -> Obj:
    """An HTTP listener whose route table is the file at `routes_path`. Streams may last for ever."""
    manager = {
        "@type": MANAGER,
        "stat_prefix": route_table_name(port),
        "rds": {"route_config_name": route_table_name(port), "config_source": file_source(routes_path)},
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "use_remote_address": True,
        "normalize_path": True,
        "http_filters": [
            picker_filter(),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "@type": LISTENER,
        "name": f"port-{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [chain],
        "per_connection_buffer_limit_bytes": LONGEST_BODY,
    }


def route_table_name(port: int) -> str:
    """The name of the route table (and prefix of the statistics) of a listener port."""
    return f"port-{port}"


def route_table(port: int, hosts: Mapping[str, Iterable[Ranked]]) -> Obj:
    """The route table of a port: for each host name its routes, the lowest rank first."""
    virtual_hosts = [
        {
            "name": host,
            "domains": [host],
            "routes": [route for _, route in sorted(ranked, key=lambda each: each[0])],
        }
        for host, ranked in sorted(hosts.items())
    ]
    return {
        "@type": ROUTES,
        "name": route_table_name(port),
        "ignore_port_in_host_matching": True,
        "virtual_hosts": virtual_hosts,
    }


def cluster(target: Target, endpoints_path: str) -> Obj:
    """A cluster whose endpoints are the file at `endpoints_path`.

    Hosts are never ejected for their answers. Idle connections are closed before model servers
    close them, so that no request meets a connection that is just being closed.
    """
    protocol: Obj = {"http2_protocol_options": {}} if target.http2 else {"http_protocol_options": {}}
    options = {
        "@type": HTTP_OPTIONS,
        "explicit_http_config": protocol,
        "common_http_protocol_options": {"idle_timeout": "30s"},
    }
    limits = {
        "max_connections": MANY,
        "max_pending_requests": MANY,
        "max_requests": MANY,
        "max_retries": MANY,
    }
    return {
        "@type": CLUSTER,
        "name": target.name,
        "alt_stat_name": target.stat_name or target.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": file_source(endpoints_path)},
        **load_balancing(target),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        },
    }


def load_assignment(target: Target, pods: Iterable[Obj]) -> Obj:
    """The endpoints of a cluster, as Envoy wants them."""
    entries = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in endpoints(target, pods)
    ]
    return {
        "@type": ENDPOINTS,
        "cluster_name": target.name,
        "endpoints": [{"lb_endpoints": entries}] if entries else [],
    }


def endpoints(target: Target, pods: Iterable[Obj]) -> list[tuple[str, int]]:
    """Address and port: every port of every pod that may get requests."""
    return sorted(
        (pod["status"]["podIP"], port)
        for pod in pods
        if serves(pod, target)
        for wanted in target.ports
        if (port := _number(pod, wanted))
    )


def serves(pod: Obj, target: Target) -> bool:
    """Whether a pod of the target's namespace is selected, ready, and not about to end."""
    metadata = pod["metadata"]
    selected = bool(target.labels) and set(target.labels) <= (metadata.get("labels") or {}).items()
    alive = "deletionTimestamp" not in metadata and bool(pod.get("status", {}).get("podIP"))
    return selected and metadata["namespace"] == target.namespace and alive and is_true(pod, "Ready")


def _number(pod: Obj, port: int | str) -> int | None:
    if isinstance(port, int):
        return port
    for container in pod["spec"]["containers"]:
        for each in container.get("ports") or []:
            if each.get("name") == port:
                number: int = each["containerPort"]
                return number
    return None
