"""How Envoy asks an endpoint picker: an external processor that answers with the endpoint in a header."""

from __future__ import annotations

from lab.gateway.model import Target
from lab.kube.objects import Obj

PREFIX = "type.googleapis.com/envoy.extensions."
PROCESSOR = PREFIX + "filters.http.ext_proc.v3.ExternalProcessor"
PROCESSOR_PER_ROUTE = PREFIX + "filters.http.ext_proc.v3.ExtProcPerRoute"
OVERRIDE_HOST = PREFIX + "load_balancing_policies.override_host.v3.OverrideHost"
LEAST_REQUEST = PREFIX + "load_balancing_policies.least_request.v3.LeastRequest"
FILTER = "envoy.filters.http.ext_proc"
DESTINATION = "x-gateway-destination-endpoint"
NOTHING = {
    "request_header_mode": "SKIP",
    "response_header_mode": "SKIP",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}
EVERYTHING_BUT_THE_ANSWER = {
    **NOTHING,
    "request_header_mode": "SEND",
    "request_body_mode": "BUFFERED",
    "response_header_mode": "SEND",
    "response_trailer_mode": "SEND",  # keeps the stream open until the answer has ended
}


def picker_filter() -> Obj:
    """The HTTP filter that asks pickers; by itself it asks nobody, `picking` turns it on."""
    return {
        "name": FILTER,
        "disabled": True,
        "typed_config": {
            "@type": PROCESSOR,
            "grpc_service": {"envoy_grpc": {"cluster_name": "no-picker"}},
            "processing_mode": NOTHING,
            "allow_mode_override": True,  # of a stream a picker reads the body, for its first token
            "message_timeout": "10s",  # a dead picker refuses at once; a starved one must not lose requests
            "status_on_error": {"code": "ServiceUnavailable"},
        },
    }


def picking(target: Target) -> Obj:
    """The part of a route to `target` that has its picker asked; nothing if it has none."""
    if target.picker is None:
        return {}
    overrides = {
        "grpc_service": {"envoy_grpc": {"cluster_name": target.picker.name}},
        "processing_mode": EVERYTHING_BUT_THE_ANSWER,
        "failure_mode_allow": target.fail_open,
    }
    return {"typed_per_filter_config": {FILTER: {"@type": PROCESSOR_PER_ROUTE, "overrides": overrides}}}


def load_balancing(target: Target) -> Obj:
    """The load balancing of a cluster: the endpoint that the picker chose if it is there, else the idlest."""
    if target.picker is None:
        return {"lb_policy": "LEAST_REQUEST"}
    override = {
        "@type": OVERRIDE_HOST,
        "override_host_sources": [{"header": DESTINATION}],
        "fallback_policy": {"policies": [_policy("least_request", {"@type": LEAST_REQUEST})]},
    }
    return {"load_balancing_policy": {"policies": [_policy("override_host", override)]}}


def _policy(name: str, config: Obj) -> Obj:
    return {
        "typed_extension_config": {"name": f"envoy.load_balancing_policies.{name}", "typed_config": config}
    }
