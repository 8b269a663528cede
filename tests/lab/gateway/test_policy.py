"""What the gateway decides, without Envoy: attachment, references, routes, endpoints, statuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.gateway.attachment import attachments, hostnames
from lab.gateway.compile import check, compile_world
from lab.gateway.losses import LOSSES
from lab.gateway.model import Target, Unsupported, World
from lab.gateway.routes import duration
from lab.gateway.statuses import gateway_status, merge_parents, pool_parents, route_parents
from lab.gateway.xds import cluster, load_assignment
from tests.support.lab.gateway_objects import backend, gateway, pod, pool, route, rule, service, world

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def routes_of(given: World, host: str = "*", port: int = 8080) -> list[dict[str, Any]]:
    ranked = compile_world(given).tables[port].get(host, [])
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


def clusters_of(envoy_route: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["name"], each["weight"]) for each in envoy_route["route"]["weighted_clusters"]["clusters"]]


def conditions(entry: dict[str, Any]) -> dict[str, tuple[str, str, int]]:
    return {c["type"]: (c["status"], c["reason"], c["observedGeneration"]) for c in entry["conditions"]}


def route_conditions(given: World, name: str, **refused: str) -> dict[str, tuple[str, str, int]]:
    refusals = {("default", key): why for key, why in refused.items()}
    return conditions(route_parents(given, attachments(given), refusals)["default", name][0])


def test_weights_become_shares_and_default_to_one() -> None:
    given = world(gateway(), service(), pool("a"), pool("b"), route("r", rule(backend("a"), backend("b", 9))))
    (only,) = routes_of(given)
    assert clusters_of(only) == [("default_a", 1), ("default_b", 9)]
    assert only["route"]["timeout"] == "0s"
    assert set(compile_world(given).targets) == {"default_a", "default_b"}


def test_weight_zero_gets_no_traffic_but_a_cluster() -> None:
    given = world(gateway(), service(), pool("a"), pool("b"), route("r", rule(backend("a"), backend("b", 0))))
    assert clusters_of(routes_of(given)[0]) == [("default_a", 1)]
    assert "default_b" in compile_world(given).targets


def test_some_of_a_pool_s_requests_are_lost_where_the_gateway_says_so() -> None:
    """They go to its pods, where nobody listens, and are counted as its own."""
    losing = gateway(annotations={LOSSES: "b=70, nonsense,c=101"})
    rules = rule(backend("a", 90), backend("b", 10))
    given = world(losing, service(), pool("a"), pool("b"), route("r", rules))
    assert clusters_of(routes_of(given)[0]) == [
        ("default_a", 9000),
        ("default_b", 300),
        ("default_b_lost", 700),
    ]
    targets = compile_world(given).targets
    assert set(targets) == {"default_a", "default_b", "default_b_lost"}
    lost = cluster(targets["default_b_lost"], "/eds")
    assert (lost["alt_stat_name"], lost["lb_policy"]) == ("default_b", "LEAST_REQUEST")
    assert targets["default_b_lost"].ports == (1,)


@pytest.mark.parametrize("backends", [[], [backend("a", 0)]], ids=["no backends", "all weights zero"])
def test_a_rule_without_weight_answers_500(backends: list[dict[str, Any]]) -> None:
    given = world(gateway(), service(), pool("a"), route("r", rule(*backends)))
    assert routes_of(given)[0]["direct_response"] == {"status": 500}


def test_an_invalid_backend_keeps_its_share() -> None:
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a", 90), backend("gone", 10))))
    (only,) = routes_of(given)
    assert clusters_of(only) == [("default_a", 90), ("invalid-backend", 10)]
    assert only["route"]["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    assert "invalid-backend" not in compile_world(given).targets


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (backend("gone"), "BackendNotFound"),
        (backend("a", namespace="other"), "RefNotPermitted"),
        (backend("a", kind="Secret"), "InvalidKind"),
        ({"name": "gone", "port": 80}, "BackendNotFound"),
        ({"name": "epp", "port": 81}, "BackendNotFound"),
    ],
)
def test_references_that_do_not_resolve(reference: dict[str, Any], reason: str) -> None:
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a"), reference), generation=4))
    by_type = route_conditions(given, "r")
    assert by_type["ResolvedRefs"] == ("False", reason, 4)
    assert by_type["Accepted"] == ("True", "Accepted", 4)


@pytest.mark.parametrize(
    "picker",
    [
        {"name": "nope", "port": {"number": 9002}},
        {"name": "epp", "port": {"number": 1}},
        {"name": "epp", "kind": "Pod"},
    ],
)
def test_a_pool_without_its_picker_is_an_invalid_backend(picker: dict[str, Any]) -> None:
    given = world(gateway(), service(), pool("a", picker), route("r", rule(backend("a"))))
    (entry,) = pool_parents(given, attachments(given))["default", "a"]
    assert conditions(entry)["Accepted"] == ("True", "Accepted", 1)
    assert conditions(entry)["ResolvedRefs"] == ("False", "InvalidExtensionRef", 1)
    assert clusters_of(routes_of(given)[0]) == [("invalid-backend", 1)]


def test_this_gateway_needs_a_picker_reference() -> None:
    lacking = pool("a")
    del lacking["spec"]["endpointPickerRef"]
    given = world(gateway(), lacking, route("r", rule(backend("a"))))
    (entry,) = pool_parents(given, attachments(given))["default", "a"]
    assert conditions(entry)["Accepted"] == ("False", "EndpointPickerRefMissing", 1)


def test_a_pool_has_a_parent_only_while_a_route_refers_to_it() -> None:
    base = [gateway(), service(), pool("a", generation=3), pool("b")]
    used = world(*base, route("r", rule(backend("a", 0))))
    parents = pool_parents(used, attachments(used))
    assert parents["default", "b"] == []
    (entry,) = parents["default", "a"]
    assert entry["parentRef"]["name"] == "gw"
    assert conditions(entry) == {
        "Accepted": ("True", "Accepted", 3),
        "ResolvedRefs": ("True", "ResolvedRefs", 3),
    }
    unused = world(*base)
    assert pool_parents(unused, attachments(unused))["default", "a"] == []


def test_a_pool_is_not_accepted_when_no_route_is() -> None:
    parent = {"name": "gw", "sectionName": "nope"}
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a")), parents=[parent]))
    (entry,) = pool_parents(given, attachments(given))["default", "a"]
    assert conditions(entry)["Accepted"][:2] == ("False", "HTTPRouteNotAccepted")


@pytest.mark.parametrize(
    ("made", "parent", "reason"),
    [
        (gateway(), {"name": "gw"}, "Accepted"),
        (gateway(), {"name": "gw", "sectionName": "http", "port": 8080}, "Accepted"),
        (gateway(), {"name": "gw", "port": 81}, "NoMatchingParent"),
        (gateway(namespace="infra"), {"name": "gw", "namespace": "infra"}, "NotAllowedByListeners"),
        (
            gateway(
                listeners=[{"name": "http", "port": 80, "protocol": "HTTP", "hostname": "a.example.com"}]
            ),
            {"name": "gw"},
            "NoMatchingListenerHostname",
        ),
    ],
)
def test_attachment(made: dict[str, Any], parent: dict[str, Any], reason: str) -> None:
    given = world(made, route("r", rule(), parents=[parent], hosts=["b.example.com"]))
    assert [each.reason for each in attachments(given)] == [reason]


def test_listeners_may_allow_routes_of_all_namespaces() -> None:
    allowed = {"namespaces": {"from": "All"}}
    open_to_all = [{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": allowed}]
    parent = {"name": "gw", "namespace": "infra"}
    given = world(gateway(listeners=open_to_all, namespace="infra"), route("r", rule(), parents=[parent]))
    assert attachments(given)[0].accepted


@pytest.mark.parametrize(
    ("parent", "count"),
    [({"name": "other"}, 0), ({"name": "gw", "kind": "Service", "group": ""}, 0), ({"name": "gw"}, 1)],
)
def test_parents_that_are_not_ours_are_left_alone(parent: dict[str, Any], count: int) -> None:
    given = world(gateway(), route("r", rule(), parents=[parent]))
    assert len(attachments(given)) == count


@pytest.mark.parametrize(
    ("listener", "theirs", "shared"),
    [
        (None, None, ["*"]),
        (None, ["a.x"], ["a.x"]),
        ("*.x", None, ["*.x"]),
        ("*.x", ["a.x", "b.y", "*.b.x"], ["a.x", "*.b.x"]),
        ("a.x", ["*.x"], ["a.x"]),
        ("*.x", ["x"], []),
    ],
)
def test_host_names_are_intersected(
    listener: str | None, theirs: list[str] | None, shared: list[str]
) -> None:
    assert hostnames({"hostname": listener}, {"spec": {"hostnames": theirs}}) == shared


def test_precedence_of_matches() -> None:
    def at(kind: str, value: str, **more: Any) -> dict[str, Any]:
        return {"path": {"type": kind, "value": value}, **more}

    matches = [
        at("PathPrefix", "/"),
        at("PathPrefix", "/v1/"),
        at("PathPrefix", "/v1", headers=[{"name": "x", "value": "1"}]),
        at("PathPrefix", "/v1", method="POST"),
        at("Exact", "/v1"),
    ]
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a"), matches=matches)))
    order = [each["match"] for each in routes_of(given)]
    assert order == [
        {"path": "/v1"},
        {"path_separated_prefix": "/v1"},
        {"path_separated_prefix": "/v1", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]},
        {"path_separated_prefix": "/v1", "headers": [{"name": "x", "string_match": {"exact": "1"}}]},
        {"prefix": "/"},
    ]


def test_the_older_route_wins() -> None:
    young = route("a", rule(backend("a")), creationTimestamp="2030-02-01T00:00:00Z")
    old = route("b", rule(backend("b")), creationTimestamp="2030-01-01T00:00:00Z")
    given = world(gateway(), service(), pool("a"), pool("b"), young, old)
    assert [clusters_of(each)[0][0] for each in routes_of(given)] == ["default_b", "default_a"]


def test_header_changes_mirrors_and_timeouts() -> None:
    changes = {"set": [{"name": "x", "value": "1"}], "remove": ["y"]}
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": changes},
        {"type": "RequestMirror", "requestMirror": {"backendRef": backend("b"), "percent": 10}},
    ]
    timeouts = {"request": "5m", "backendRequest": "1m30s"}
    made = route("r", rule(backend("a"), filters=filters, timeouts=timeouts))
    given = world(gateway(), service(), pool("a"), pool("b"), made)
    (only,) = routes_of(given)
    assert only["request_headers_to_add"] == [
        {"header": {"key": "x", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]
    assert only["request_headers_to_remove"] == ["y"]
    assert only["route"]["timeout"] == "90s"
    (mirror,) = only["route"]["request_mirror_policies"]
    assert mirror["cluster"] == "default_b"
    assert mirror["runtime_fraction"]["default_value"] == {"numerator": 100_000, "denominator": "MILLION"}


def test_unsupported_filters_are_named() -> None:
    made = route("r", rule(backend("a"), filters=[{"type": "URLRewrite", "urlRewrite": {}}]))
    with pytest.raises(Unsupported, match="URLRewrite"):
        check(world(gateway(), service(), pool("a"), made), made)


def test_a_refused_route_says_so_at_its_generation() -> None:
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a")), generation=6))
    by_type = route_conditions(given, "r", r="Envoy: no")
    assert by_type["Accepted"] == ("False", "UnsupportedValue", 6)
    assert by_type["Reconciled"] == ("False", "ReconciliationFailed", 6)


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("1m30s", 90), ("500ms", 0.5), ("0s", 0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


def test_services_are_backends_too() -> None:
    web = service("web", 80, targetPort=None, selector={"app": "web"})
    web["spec"]["ports"] = [{"port": 80, "targetPort": "http"}]
    given = world(gateway(), web, route("r", rule({"name": "web", "port": 80, "weight": 1})))
    target = compile_world(given).targets["default_web_80"]
    container = {"ports": [{"name": "http", "containerPort": 8123}]}
    serving = pod("p", "x", "127.9.9.10")
    serving["metadata"]["labels"] = {"app": "web"}
    serving["spec"] = {"containers": [container]}
    assert addresses(target, [serving]) == [("127.9.9.10", 8123)]


def addresses(target: Target, pods: list[dict[str, Any]]) -> list[tuple[str, int]]:
    groups = load_assignment(target, pods)["endpoints"]
    sockets = [
        each["endpoint"]["address"]["socket_address"] for group in groups for each in group["lb_endpoints"]
    ]
    return [(each["address"], each["port_value"]) for each in sockets]


def test_endpoints_are_ready_pods_that_stay() -> None:
    target = Target("default_a", "default", (("inference-pool", "a"),), (8000, 8001))
    pods = [
        pod("good", "a", "127.9.9.10"),
        pod("ends", "a", "127.9.9.11", deletionTimestamp="2030-01-01T00:00:00Z"),
        pod("cold", "a", "127.9.9.12", ready=False),
        pod("other", "b", "127.9.9.13"),
        pod("homeless", "a", ""),
        pod("elsewhere", "a", "127.9.9.14", namespace="other"),
    ]
    assert addresses(target, pods) == [("127.9.9.10", 8000), ("127.9.9.10", 8001)]
    assert addresses(target, []) == []


def test_one_address_has_each_port_once() -> None:
    old = gateway("gw", creationTimestamp="2030-01-01T00:00:00Z")
    young = gateway("late", creationTimestamp="2030-02-01T00:00:00Z")
    parents = [{"name": "gw"}, {"name": "late"}]
    given = world(old, young, service(), pool("a"), route("r", rule(backend("a")), parents=parents))
    ports, attached = compile_world(given).ports, attachments(given)
    assert ports == {8080: ("default", "gw")}
    status = gateway_status(young, attached, ports, "127.9.9.1", "")
    assert status["conditions"][1]["status"] == "False"
    assert len(routes_of(given)) == 1


def test_gateway_status() -> None:
    listeners = [
        {"name": "http", "port": 8080, "protocol": "HTTP"},
        {"name": "tls", "port": 8443, "protocol": "HTTPS"},
    ]
    made = gateway(listeners=listeners, generation=2)
    given = world(made, service(), pool("a"), route("r", rule(backend("a"))), route("s", rule(backend("a"))))
    status = gateway_status(made, attachments(given), compile_world(given).ports, "127.9.9.1", "")
    assert status["addresses"] == [{"type": "IPAddress", "value": "127.9.9.1"}]
    assert conditions(status)["Accepted"] == ("True", "ListenersNotValid", 2)
    assert conditions(status)["Programmed"] == ("True", "Programmed", 2)
    http, tls = status["listeners"]
    assert http["attachedRoutes"] == 2
    assert conditions(http)["Programmed"][0] == "True"
    assert conditions(tls)["Accepted"][:2] == ("False", "UnsupportedProtocol")
    troubled = gateway_status(gateway(), [], {}, "127.9.9.1", "Envoy does not answer")
    assert conditions(troubled)["Programmed"][:2] == ("False", "Pending")


def test_other_controllers_keep_their_entries() -> None:
    theirs = {"parentRef": {"name": "gw"}, "controllerName": "x.io/y", "conditions": []}
    given = world(gateway(), service(), pool("a"), route("r", rule(backend("a"))))
    ours = route_parents(given, attachments(given), {})["default", "r"]
    first = merge_parents([theirs], ours, NOON)
    assert first[0] == theirs
    assert merge_parents(first, ours, NOON + timedelta(hours=1)) == first
    assert merge_parents(first, [], NOON) == [theirs]
