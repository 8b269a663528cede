"""Which kinds a cluster serves: what is believed, for how long, and what says nothing about it."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.clients.api_server import Answer, Request
from inference_rollouts.clients.discovery import Discovery
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable, NotFound
from inference_rollouts.core.limits import DISCOVERY_NO_TTL
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.odd_server import Talk, replies, replies_json
from tests.support.scripted_api import API, GROUP, RESOURCES, ROUTE, ROUTES, Clock, ScriptedApi, status


def get(cluster: KubernetesCluster) -> K8sObject:
    return cluster.get(API, "HTTPRoute", "llm")


def test_a_kind_that_is_served_is_looked_up_once(
    server: ScriptedApi, cluster: KubernetesCluster, clock: Clock
) -> None:
    for _ in range(3):
        get(cluster)
        clock.now += 2 * DISCOVERY_NO_TTL
    assert cluster.serves(API, "HTTPRoute")
    assert server.count(GROUP) == 1


def test_a_no_is_believed_for_a_short_time(
    server: ScriptedApi, cluster: KubernetesCluster, clock: Clock
) -> None:
    assert not cluster.serves(API, "GRPCRoute")
    assert cluster.find(API, "GRPCRoute", "llm") is None
    with pytest.raises(NotFound, match="does not serve GRPCRoute"):
        cluster.get(API, "GRPCRoute", "llm")
    assert server.count(GROUP) == 1
    more = {
        "resources": [
            *RESOURCES["resources"],
            {"name": "grpcroutes", "kind": "GRPCRoute", "namespaced": True},
        ]
    }
    server.fixed[GROUP] = replies_json(200, more)
    clock.now += DISCOVERY_NO_TTL
    assert cluster.serves(API, "GRPCRoute")


def test_a_group_that_no_list_of_groups_has_is_not_served(
    server: ScriptedApi, cluster: KubernetesCluster, clock: Clock
) -> None:
    for _ in range(2):
        assert not cluster.serves("no.such/v1", "Thing")
    assert server.count("/apis/no.such/v1") == 1
    clock.now += DISCOVERY_NO_TTL
    assert not cluster.serves("no.such/v1", "Thing")
    assert server.count("/apis/no.such/v1") == 2


@pytest.mark.parametrize(
    "talk",
    [
        status(401, "Unauthorized"),
        status(403, "Forbidden"),
        status(404, "NotFound"),
        replies(404, b"404 page not found"),
        status(503, ""),
        replies_json(200, {"resources": []}),
        replies_json(200, {}),
        replies_json(200, {"resources": [{"kind": "HTTPRoute"}]}),
        replies(200, b"{"),
    ],
)
def test_a_discovery_that_failed_once_says_nothing_about_what_is_served(
    server: ScriptedApi, cluster: KubernetesCluster, talk: Talk
) -> None:
    server.once(GROUP, talk, talk)
    with pytest.raises(ClusterUnavailable):
        cluster.serves(API, "HTTPRoute")
    with pytest.raises(ClusterUnavailable):
        cluster.find(API, "HTTPRoute", "llm")
    assert get(cluster) == ROUTE


def test_a_group_that_is_404_while_nobody_lists_the_groups_may_be_there(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    for talk in (replies(404, b"404 page not found"), status(403, "Forbidden"), replies_json(200, {})):
        server.once("/apis", talk)
        with pytest.raises(ClusterUnavailable):
            cluster.serves("no.such/v1", "Thing")


def test_a_kind_that_lost_its_handler_is_looked_up_anew(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    get(cluster)
    server.once(f"{ROUTES}/llm", status(404, "NotFound", "the server could not find the requested resource"))
    with pytest.raises(ClusterUnavailable, match="could not find the requested resource"):
        get(cluster)
    server.fixed[GROUP], server.fixed["/apis"] = replies(404, b""), replies_json(200, {"groups": []})
    with pytest.raises(NotFound, match="does not serve"):
        get(cluster)


class Hasty(Discovery):
    """Others find out at once that what it was told is not so."""

    def _remember(self, api_version: str, kind: str | None = None) -> Any:
        known = super()._remember(api_version, kind)
        self.forget(api_version)
        return known


def test_kinds_that_others_forget_meanwhile_are_listed_as_they_were_told() -> None:
    def answer(request: Request) -> Answer:
        groups = [{"name": API.partition("/")[0], "versions": [{"groupVersion": API}]}]
        return Answer(200, {"groups": groups} if request.path == "/apis" else RESOURCES, "")

    assert (API, "HTTPRoute") in Hasty(answer).extensions().kinds


def test_all_kinds_of_extensions_are_found_each_once_and_what_is_silent_is_named(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    """Kubernetes' own groups are not looked through; kinds that nobody can list, or without namespace, go."""

    def resource(kind: str, **more: object) -> dict[str, object]:
        return {"name": f"{kind.lower()}s", "kind": kind, "namespaced": True, "verbs": ["list"], **more}

    def group(name: str, *versions: str) -> dict[str, object]:
        return {"name": name, "versions": [{"groupVersion": f"{name}/{each}"} for each in versions]}

    groups = [
        group("apps", "v1"),
        group("networking.k8s.io", "v1"),
        group("policies.example.com", "v1", "v1alpha1"),
        group("broken.example.com", "v1"),
    ]
    server.fixed["/apis"] = replies_json(200, {"groups": groups})
    new = [resource("Limit"), resource("Review", verbs=["create"]), resource("Zone", namespaced=False)]
    server.fixed["/apis/policies.example.com/v1"] = replies_json(200, {"resources": new})
    old = [resource("Limit"), resource("Teapot")]
    server.fixed["/apis/policies.example.com/v1alpha1"] = replies_json(200, {"resources": old})
    server.fixed["/apis/broken.example.com/v1"] = status(503, "")
    found = cluster.extensions()
    assert found.kinds == (("policies.example.com/v1", "Limit"), ("policies.example.com/v1alpha1", "Teapot"))
    assert found.silent == ("broken.example.com",)
    assert server.count("/apis/apps/v1") == 0
