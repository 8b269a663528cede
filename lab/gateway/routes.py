"""HTTPRoute rules -> Envoy routes, in Gateway API's order of precedence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from lab.gateway.backends import is_mirror
from lab.gateway.losses import nowhere
from lab.gateway.model import INVALID_BACKEND, Resolution, Target, Unsupported
from lab.gateway.picking import picking
from lab.kube.clock import created
from lab.kube.objects import Obj

Resolve = Callable[[Obj], Resolution]
Ranked = tuple[tuple[Any, ...], Obj]

# Only failures in which no byte of the request can have reached a model server: nobody listens
# there, or the HTTP/2 server refused the stream unprocessed. Another endpoint of the same pool is asked.
# Anything later is not repeated: a completion is costly and need not be idempotent.
RETRY = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "previous-hosts",
            "typed_config": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
}
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def envoy_routes(route: Obj, resolve: Resolve) -> list[Ranked]:
    """The Envoy routes of an HTTPRoute, each with its rank: the lowest rank matches first.

    Raises Unsupported for what this gateway cannot do.
    """
    ranked: list[Ranked] = []
    for number, rule in enumerate(route["spec"].get("rules") or []):
        action = _action(rule, resolve)
        for match in rule.get("matches") or [{}]:
            rank = (*_specificity(match), created(route), route["metadata"]["namespace"], number)
            ranked.append((rank, {"match": _match(match), **action}))
    return ranked


def _specificity(match: Obj) -> tuple[int, ...]:
    path = match.get("path") or {}
    order = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}
    return (
        order[path.get("type", "PathPrefix")],
        -len(path.get("value", "/")),
        0 if match.get("method") else 1,
        -len(match.get("headers") or []),
        -len(match.get("queryParams") or []),
    )


def _match(match: Obj) -> Obj:
    headers: list[Obj] = [_named_match(each) for each in match.get("headers") or []]
    if method := match.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": method}})
    parameters = [_named_match(each) for each in match.get("queryParams") or []]
    made = _path_match(match.get("path") or {})
    if headers:
        made["headers"] = headers
    if parameters:
        made["query_parameters"] = parameters
    return made


def _path_match(path: Obj) -> Obj:
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "Exact":
        return {"path": value}
    if kind == "RegularExpression":
        return {"safe_regex": {"regex": value}}
    prefix = value.rstrip("/")
    return {"path_separated_prefix": prefix} if prefix else {"prefix": "/"}


def _named_match(each: Obj) -> Obj:
    regex = each.get("type", "Exact") == "RegularExpression"
    how: Obj = {"safe_regex": {"regex": each["value"]}} if regex else {"exact": each["value"]}
    return {"name": each["name"], "string_match": how}


def _action(rule: Obj, resolve: Resolve) -> Obj:
    filters = rule.get("filters") or []
    headers = _header_changes([each for each in filters if not is_mirror(each)])
    backends = [
        (resolve(reference).target, reference.get("weight", 1), reference)
        for reference in rule.get("backendRefs") or []
    ]
    parts = _parts if any(target and target.lost for target, _, _ in backends) else _whole
    clusters = [part for backend in backends if backend[1] > 0 for part in parts(*backend)]
    if not clusters:
        return {"direct_response": {"status": 500}, **headers}
    action: Obj = {
        "weighted_clusters": {"clusters": clusters},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "timeout": f"{_timeout(rule):g}s",
        "retry_policy": RETRY,
    }
    if mirrors := [_mirror(each["requestMirror"], resolve) for each in filters if is_mirror(each)]:
        action["request_mirror_policies"] = [each for each in mirrors if each]
    return {"route": action, **headers}


def _whole(target: Target | None, weight: int, reference: Obj) -> list[Obj]:
    return [_weighted(target, weight, reference)]


def _parts(target: Target | None, weight: int, reference: Obj) -> Iterator[Obj]:
    """Where a backend's requests go in a rule that loses some: by hundredths of the weights."""
    lost = target.lost if target else 0
    if lost < 100:
        yield _weighted(target, weight * (100 - lost), reference)
    if target and lost:
        yield _weighted(nowhere(target), weight * lost, reference)


def _weighted(target: Target | None, weight: int, reference: Obj) -> Obj:
    name = target.name if target else INVALID_BACKEND
    made = {"name": name, "weight": weight, **_header_changes(reference.get("filters") or [])}
    return {**made, **picking(target)} if target else made


def _mirror(mirror: Obj, resolve: Resolve) -> Obj | None:
    target = resolve(mirror["backendRef"]).target
    if target is None:
        return None
    fraction = mirror.get("fraction") or {"numerator": mirror.get("percent", 100)}
    ratio = fraction["numerator"] / fraction.get("denominator", 100)
    share = {"numerator": round(1_000_000 * ratio), "denominator": "MILLION"}
    return {"cluster": target.name, "runtime_fraction": {"default_value": share}}


def _header_changes(filters: list[Obj]) -> Obj:
    changes: Obj = {}
    for each in filters:
        match each["type"]:
            case "RequestHeaderModifier":
                changes |= _modifier("request", each["requestHeaderModifier"])
            case "ResponseHeaderModifier":
                changes |= _modifier("response", each["responseHeaderModifier"])
            case other:
                raise Unsupported(f"filter {other} is not supported")
    return changes


def _modifier(side: str, modifier: Obj) -> Obj:
    added = [
        {"header": {"key": each["name"], "value": each["value"]}, "append_action": how}
        for field, how in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD"))
        for each in modifier.get(field) or []
    ]
    changes: Obj = {}
    if added:
        changes[f"{side}_headers_to_add"] = added
    if removed := modifier.get("remove"):
        changes[f"{side}_headers_to_remove"] = removed
    return changes


def _timeout(rule: Obj) -> float:
    """Seconds a request may take; 0 is for ever, which streams need and is the default."""
    timeouts = rule.get("timeouts") or {}
    limits = [duration(text) for name in ("request", "backendRequest") if (text := timeouts.get(name))]
    return min((limit for limit in limits if limit > 0), default=0)


def duration(text: str) -> float:
    """Seconds of a Gateway API duration such as `1m30s`."""
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))
