"""Objects that are read: lists, pages, watches, tables."""

from __future__ import annotations

import threading

from tests.support.lab.apiserver_process import MAPS, MERGE_PATCH, ApiServer, causes, config_map


def test_events_are_seen_in_both_groups(server: ApiServer, namespace: str) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "HTTPRoute", "name": "r", "namespace": namespace},
        "reason": "WeightShifted",
        "message": "llm 90",
        "type": "Normal",
    }
    server.ok("POST", f"/api/v1/namespaces/{namespace}/events", event)
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    seen = server.ok("GET", f"{path}/e")
    assert (seen["note"], seen["regarding"]["name"]) == ("llm 90", "r")
    newer = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "f"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "a.example/b",
        "reportingInstance": "one",
        "action": "Shift",
        "reason": "R",
        "type": "Normal",
        "note": "n",
        "regarding": {"kind": "Pod", "name": "p", "namespace": namespace},
    }
    server.ok("POST", path, newer)
    core = server.ok("GET", f"/api/v1/namespaces/{namespace}/events/f")
    assert (core["message"], core["involvedObject"]["name"]) == ("n", "p")
    selected = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3Dr"
    assert [item["metadata"]["name"] for item in server.ok("GET", selected)["items"]] == ["e"]


def test_lists_page_and_select(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    for i in range(5):
        server.ok(
            "POST", path, {**config_map(), "metadata": {"name": f"c{i}", "labels": {"odd": str(i % 2)}}}
        )
    first = server.ok("GET", f"{path}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    server.ok("DELETE", f"{path}/c2")
    rest = server.ok("GET", f"{path}?limit=9&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    odd = server.ok("GET", f"{path}?labelSelector=odd%3D1")["items"]
    assert [item["metadata"]["name"] for item in odd] == ["c1", "c3"]
    assert server.call("GET", f"{path}?labelSelector=a%20b").code == 400
    assert server.call("GET", f"{path}?fieldSelector=data.a%3D1").code == 400
    assert server.call("GET", f"{path}?continue=nonsense").code == 400
    assert server.call("GET", f"{path}?resourceVersion=999999").code == 504
    assert server.call("GET", f"{path}?resourceVersion=words").code == 400
    server.ok("DELETE", f"{path}?labelSelector=odd%3D1")
    assert len(server.ok("GET", path)["items"]) == 2


def test_watches(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    version = server.ok("GET", path)["metadata"]["resourceVersion"]
    server.ok("POST", path, config_map("a"))
    server.ok("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "1"}}}, MERGE_PATCH)
    server.ok("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "2"}}}, MERGE_PATCH)
    server.ok("DELETE", f"{path}/a")

    def seen(query: str) -> list[str]:
        return [event["type"] for event in server.watch(f"{path}?{query}", 1)]

    assert seen(f"resourceVersion={version}") == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert seen(f"resourceVersion={version}&labelSelector=x%3D1") == ["ADDED", "DELETED"]
    assert seen("") == []
    assert [e["object"]["code"] for e in server.watch(f"{path}?resourceVersion=1", 1)] == [410]


def test_a_watch_is_live_and_bookmarked(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    later = threading.Timer(0.3, lambda: server.ok("POST", path, config_map("live")))
    later.start()
    events = server.watch(f"{path}?allowWatchBookmarks=true", 3)
    later.join()
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) >= int(
        events[0]["object"]["metadata"]["resourceVersion"]
    )
    initial = server.watch(
        f"{path}?sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", 1
    )
    assert [event["type"] for event in initial] == ["ADDED", "BOOKMARK"]
    assert initial[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_tables_and_metadata_only(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map(a="1"))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = server.call("GET", path, headers=accept).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["c", 1]
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    partial = server.call("GET", path, headers=accept).body
    assert partial["kind"] == "PartialObjectMetadataList"
    assert partial["items"][0].keys() == {"kind", "apiVersion", "metadata"}


def test_pages_and_lists_of_a_version_show_what_there_was(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)

    def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in server.ok("GET", f"{path}?{query}")["items"]]

    for name in "ace":
        server.ok("POST", path, config_map(name))
    first = server.ok("GET", f"{path}?limit=1")["metadata"]
    server.ok("POST", path, config_map("b"))
    server.ok("DELETE", f"{path}/c")
    server.ok("PATCH", f"{path}/e", {"data": {"late": "yes"}}, MERGE_PATCH)
    rest = server.ok("GET", f"{path}?continue={first['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c", "e"]
    assert "data" not in rest["items"][1]
    assert names(f"resourceVersion={first['resourceVersion']}&resourceVersionMatch=Exact") == ["a", "c", "e"]
    assert names("") == ["a", "b", "e"]
    reply = server.call("GET", f"{path}?continue={first['continue']}&resourceVersionMatch=Exact")
    assert (reply.code, causes(reply.body)) == (422, ["resourceVersionMatch"])


def test_watches_through_their_old_path(server: ApiServer, namespace: str) -> None:
    server.ok("POST", MAPS.format(namespace), config_map("a"))
    server.ok("POST", MAPS.format(namespace), config_map("b"))
    old = MAPS.format(namespace).replace("/v1/", "/v1/watch/")
    assert [e["object"]["metadata"]["name"] for e in server.watch(old, 1)] == ["a", "b"]
    assert [e["object"]["metadata"]["name"] for e in server.watch(f"{old}/b", 1)] == ["b"]


def test_columns_are_described_and_rows_carry_what_is_asked(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map())
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = server.call("GET", f"{path}/c?includeObject=None", headers=accept).body
    assert table["rows"][0]["object"] is None
    assert all(column["description"] for column in table["columnDefinitions"])
    assert server.call("GET", f"{path}?includeObject=All", headers=accept).code == 400
