"""The cluster's client: what it makes of an API server's answers, and what it takes for an absence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from inference_rollouts.clients.kubernetes import FIELD_MANAGER, KubernetesCluster
from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    NotFound,
    PatchRefused,
)
from inference_rollouts.core.limits import EVENT_REST, EVENT_TIMEOUT
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.odd_server import (
    BROKEN,
    SLOW,
    Talk,
    choosing_server,
    drips_head,
    hangs,
    odd_server,
    replies,
    replies_json,
)
from tests.support.scripted_api import (
    API,
    EVENTS,
    GROUP,
    ROUTE,
    ROUTES,
    ScriptedApi,
    status,
)
from tests.support.stopwatch import ends_within

ABOUT = {"apiVersion": API, "kind": "HTTPRoute", "metadata": ROUTE["metadata"] | {"resourceVersion": "1"}}
LIMIT = 0.3
SOON = 10 * LIMIT


def client(url: str, now: Callable[[], float] = time.monotonic, timeout: float = 20.0) -> KubernetesCluster:
    return KubernetesCluster(lambda: ApiClient(Configuration(host=url)), "prod", timeout, now)


def get(cluster: KubernetesCluster) -> K8sObject:
    return cluster.get(API, "HTTPRoute", "llm")


# Limits


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_a_server_that_is_slow_in_whatever_way_is_left_at_the_limit(talk: Talk) -> None:
    with (
        odd_server(talk) as url,
        ends_within(SOON),
        pytest.raises(ClusterUnavailable, match=r"no whole answer within 0\.3 s"),
    ):
        get(client(url, timeout=LIMIT))


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_a_broken_answer_may_pass(talk: Talk) -> None:
    with odd_server(talk) as url, pytest.raises(ClusterUnavailable, match=f"GET {GROUP}: "):
        get(client(url))


def test_a_promise_to_answer_later_is_not_waited_for_nor_is_it_obeyed(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    server.once(
        f"{ROUTES}/llm", replies_json(429, {"message": "storage is (re)initializing"}, Retry_After="30")
    )
    with (
        ends_within(SOON),
        pytest.raises(ClusterUnavailable, match=r"storage is \(re\)initializing \(429\)") as caught,
    ):
        get(cluster)
    assert caught.value.later == 30.0
    assert server.count(f"{ROUTES}/llm") == 1, "trying again is for the caller"


def test_a_redirect_is_not_followed(server: ScriptedApi, cluster: KubernetesCluster) -> None:
    server.once(f"{ROUTES}/llm", replies(302, b"", Location="https://login.test/"))
    with pytest.raises(ClusterUnavailable, match="302"):
        get(cluster)


def test_an_event_is_best_effort_and_does_not_hold_up_what_it_tells(server: ScriptedApi) -> None:
    """Nor is anybody asked where Events are, who might hang as well."""
    server.fixed["/api/v1"] = hangs
    server.once(EVENTS, drips_head, hangs)
    with choosing_server(server.choose) as url, ends_within(SOON):
        client(url, timeout=LIMIT).event(ABOUT, "Shifted", "words")
    assert server.count(EVENTS) == 1


def test_after_a_slow_event_none_is_written_for_a_while(server: ScriptedApi) -> None:
    """A rollout tells of each of its routes: with five seconds for each of forty, who watches came late."""
    server.fixed[EVENTS] = replies_json(201, {"metadata": {"name": "told"}})
    clock = [0.0]

    def slow(method: str, target: str, body: bytes) -> Talk:
        clock[0] += EVENT_TIMEOUT * target.startswith(EVENTS)
        return server.choose(method, target, body)

    with choosing_server(slow) as url:
        telling = client(url, lambda: clock[0])
        for _ in range(40):
            telling.event(ABOUT, "Shifted", "words")
        assert server.count(EVENTS) == 1
        clock[0] += EVENT_REST
        telling.event(ABOUT, "Shifted", "words")
    assert server.count(EVENTS) == 2


# Answers


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (status(401, "Unauthorized"), ClusterUnavailable),
        (status(403, "Forbidden"), Forbidden),
        (status(404, ""), ClusterUnavailable),
        (replies(404, b"404 page not found"), ClusterUnavailable),
        (status(409, "Conflict"), ClusterUnavailable),
        (status(410, "Expired"), ClusterUnavailable),
        (status(500, "InternalError"), ClusterUnavailable),
        (replies(503, b"\xff\xfe"), ClusterUnavailable),
        (replies(200, b'{"metadata": {"name": "ll'), ClusterUnavailable),
        (replies(200, b"<html>log in</html>"), ClusterUnavailable),
        (replies(200, b"[]"), ClusterUnavailable),
        (replies(200, b"{}"), ClusterUnavailable),
        (replies_json(200, {"metadata": {"name": "other"}}), ClusterUnavailable),
        (status(404, "NotFound", name="llm"), NotFound),
        (status(400, "BadRequest"), ClusterRefused),
        (status(400, "", 'admission webhook "kyverno" denied the request: frozen'), Forbidden),
    ],
)
def test_an_answer_is_an_object_a_decision_or_an_accident(
    server: ScriptedApi, cluster: KubernetesCluster, talk: Talk, error: type[Exception]
) -> None:
    server.once(f"{ROUTES}/llm", talk)
    with pytest.raises(error) as caught:
        get(cluster)
    assert type(caught.value) is error
    assert get(cluster) == ROUTE


def test_an_accident_says_what_was_asked_and_what_came_back(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    server.once(f"{ROUTES}/llm", status(403, "Forbidden", 'User "airflow"\ncannot get'))
    with pytest.raises(Forbidden) as caught:
        get(cluster)
    error = caught.value
    assert (error.method, error.path, error.status) == ("GET", f"{ROUTES}/llm", 403)
    assert str(error) == f'The cluster does not allow GET {ROUTES}/llm: User "airflow" cannot get (403)'


def test_what_is_not_there_is_none_and_what_is_not_known_is_no_none(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    server.once(f"{ROUTES}/llm", status(404, "NotFound", name="llm"), status(404, "NotFound"))
    assert cluster.find(API, "HTTPRoute", "llm") is None
    with pytest.raises(ClusterUnavailable):
        cluster.find(API, "HTTPRoute", "llm")


@pytest.mark.parametrize("code", [409, 422])
def test_a_guarded_patch_that_was_refused_is_decided(
    server: ScriptedApi, cluster: KubernetesCluster, code: int
) -> None:
    server.once(f"{ROUTES}/llm", status(code, "Invalid", "the test failed"))
    with pytest.raises(PatchRefused, match="the test failed"):
        cluster.patch(API, "HTTPRoute", "llm", [{"op": "test", "path": "/a", "value": 1}])
    assert server.asked[-1][3] == [{"op": "test", "path": "/a", "value": 1}]


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500])
def test_a_guarded_patch_that_could_not_be_made_may_pass(
    server: ScriptedApi, cluster: KubernetesCluster, code: int
) -> None:
    server.once(f"{ROUTES}/llm", status(code, ""))
    with pytest.raises(ClusterUnavailable):
        cluster.patch(API, "HTTPRoute", "llm", [])


def conflict(*managers: str) -> Talk:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{each}" using v1: .spec'}
        for each in managers
    ]
    return status(409, "Conflict", causes=causes)


def applied() -> dict[str, Any]:
    return {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": "llm"}}


def test_an_apply_takes_back_our_own_fields_and_never_others(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    server.once(f"{ROUTES}/llm", conflict(FIELD_MANAGER))
    assert cluster.apply(applied()) == ROUTE
    assert ["force=false" in server.asked[-2][2], "force=true" in server.asked[-1][2]] == [True, True]
    server.once(f"{ROUTES}/llm", conflict(FIELD_MANAGER, "helm"))
    with pytest.raises(PatchRefused):
        cluster.apply(applied())
    assert "force=false" in server.asked[-1][2]


def test_an_apply_that_met_another_write_may_pass(server: ScriptedApi, cluster: KubernetesCluster) -> None:
    server.once(f"{ROUTES}/llm", status(409, "Conflict", "the object has been modified"))
    with pytest.raises(ClusterUnavailable):
        cluster.apply(applied())


def deleted(cluster: KubernetesCluster) -> None:
    cluster.delete(applied() | {"metadata": ROUTE["metadata"]})


def test_a_deletion_of_what_has_gone_or_was_made_anew_is_done(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    deleted(cluster)
    server.once(f"{ROUTES}/llm", status(404, "NotFound", name="llm"))
    deleted(cluster)
    server.once(
        f"{ROUTES}/llm", status(409, "Conflict"), replies_json(200, {"metadata": {"name": "llm", "uid": "2"}})
    )
    deleted(cluster)
    server.once(f"{ROUTES}/llm", status(409, "Conflict"), status(404, "NotFound", name="llm"))
    deleted(cluster)


@pytest.mark.parametrize("code", [403, 404, 409, 500])
def test_a_deletion_that_was_not_made_is_not_done(
    server: ScriptedApi, cluster: KubernetesCluster, code: int
) -> None:
    server.once(f"{ROUTES}/llm", status(code, ""))
    with pytest.raises(ClusterUnavailable):
        deleted(cluster)


# Lists


def test_a_list_has_all_its_pages_and_says_whose_its_items_are(
    server: ScriptedApi, cluster: KubernetesCluster
) -> None:
    server.once(ROUTES, replies_json(200, {"metadata": {"continue": "a&b"}, "items": [ROUTE]}))
    routes = cluster.select(API, "HTTPRoute", {"a": "b"})
    assert routes == [{"apiVersion": API, "kind": "HTTPRoute", **ROUTE}] * 2
    assert "labelSelector=a%3Db" in server.asked[-1][2]
    assert "continue=a%26b" in server.asked[-1][2]


@pytest.mark.parametrize(
    "page", [{}, {"items": {}}, {"items": [1]}, {"items": [{}]}, {"items": [{"metadata": []}]}]
)
def test_what_is_no_list_is_not_an_empty_one(
    server: ScriptedApi, cluster: KubernetesCluster, page: Any
) -> None:
    server.once(ROUTES, replies_json(200, page))
    with pytest.raises(ClusterUnavailable, match="no list of objects"):
        cluster.select(API, "HTTPRoute")


def test_a_list_without_an_end_ends(
    server: ScriptedApi, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_rollouts.clients.kubernetes.LIST_TIMEOUT", LIMIT)
    server.fixed[ROUTES] = replies_json(200, {"metadata": {"continue": "more"}, "items": []})
    with (
        ends_within(SOON),
        pytest.raises(ClusterUnavailable, match=r"did not end within|no whole answer within"),
    ):
        cluster.select(API, "HTTPRoute")


def test_a_page_is_waited_for_as_long_as_the_list_may_still_take(
    server: ScriptedApi, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_rollouts.clients.kubernetes.LIST_TIMEOUT", LIMIT)
    server.once(ROUTES, replies_json(200, {"metadata": {"continue": "more"}, "items": []}), drips_head)
    with ends_within(SOON), pytest.raises(ClusterUnavailable, match="no whole answer within"):
        cluster.select(API, "HTTPRoute")


def test_reading_everywhere_may_be_forbidden(server: ScriptedApi, cluster: KubernetesCluster) -> None:
    assert len(cluster.select_everywhere(API, "HTTPRoute")) == 1
    server.once(f"{GROUP}/httproutes", status(403, "Forbidden"))
    with pytest.raises(Forbidden):
        cluster.select_everywhere(API, "HTTPRoute")


@pytest.mark.parametrize("talk", [status(403, "Forbidden"), status(500, ""), replies_json(200, {}), hangs])
def test_what_was_told_about_an_object_is_nothing_where_it_cannot_be_read(
    server: ScriptedApi, talk: Talk
) -> None:
    server.once(EVENTS, talk)
    with choosing_server(server.choose) as url:
        assert client(url, timeout=LIMIT if talk is hangs else 20).events_about(ROUTE) == []
