"""Which faults befall whom."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.apiserver_process import GATEWAY, JSON_PATCH, MAPS, ApiServer, route
from tests.support.stopwatch import ends_within


@pytest.fixture(scope="module", autouse=True)
def weighed(server: ApiServer) -> None:
    """The route whose weight is changed."""
    server.ok("POST", f"{GATEWAY}/httproutes", route("r"))


@pytest.fixture
def faults(server: ApiServer) -> Iterator[Any]:
    def plan(*rules: dict[str, Any], seed: int = 0) -> None:
        server.ok("POST", "/lab/faults", {"seed": seed, "rules": rules})

    yield plan
    server.ok("DELETE", "/lab/faults")


ROUTE = f"{GATEWAY}/httproutes/r"


def weigh(server: ApiServer, weight: int) -> int:
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": weight}]
    return server.call("PATCH", ROUTE, patch, JSON_PATCH).code


def weight_of(server: ApiServer) -> int:
    return int(server.ok("GET", ROUTE)["spec"]["rules"][0]["backendRefs"][0]["weight"])


def test_errors_by_verb_and_count(server: ApiServer, faults: Any) -> None:
    faults(
        {"kind": "error", "code": 429, "retry_after": 3, "verbs": ["get"], "path": "httproutes", "count": 2}
    )
    first = server.call("GET", ROUTE)
    assert (first.code, first.headers["retry-after"]) == (429, "3")
    assert server.call("GET", f"{MAPS.format('default')}/none").code == 404
    assert [server.call("GET", ROUTE).code for _ in range(2)] == [429, 200]
    assert server.ok("GET", "/lab/faults")["rules"][0]["struck"] == 2


def test_a_share_is_the_same_for_the_same_seed(server: ApiServer, faults: Any) -> None:
    def codes() -> list[int]:
        faults({"kind": "error", "code": 503, "share": 0.5, "path": "httproutes"}, seed=7)
        return [server.call("GET", ROUTE).code for _ in range(20)]

    once = codes()
    assert codes() == once
    assert {200, 503} == set(once)


def test_latency(server: ApiServer, faults: Any) -> None:
    faults({"kind": "latency", "seconds": 0.3, "path": "httproutes"})
    start = time.monotonic()
    assert server.call("GET", ROUTE).code == 200
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize(("kind", "written"), [("reset-before", False), ("reset-after", True)])
def test_a_reset_before_or_after_the_write(server: ApiServer, faults: Any, kind: str, written: bool) -> None:
    weigh(server, 1)
    faults({"kind": kind, "verbs": ["patch"], "count": 1})
    with pytest.raises((ConnectionError, http.client.HTTPException, OSError)):
        weigh(server, 77)
    assert weight_of(server) == (77 if written else 1)


def test_stale_reads_show_the_past(server: ApiServer, faults: Any) -> None:
    weigh(server, 1)
    faults({"kind": "stale", "verbs": ["get", "list"], "count": 2})
    weigh(server, 2)
    assert weight_of(server) == 1
    items = server.ok("GET", f"{GATEWAY}/httproutes")["items"]
    assert [item["spec"]["rules"][0]["backendRefs"][0]["weight"] for item in items] == [1]
    assert weight_of(server) == 2


def test_watches_drop_and_expire(server: ApiServer, faults: Any) -> None:
    faults(
        {"kind": "drop-watch", "verbs": ["watch"], "seconds": 0.2, "count": 1},
        {"kind": "expired", "verbs": ["watch"], "after": 1, "count": 1},
    )
    with ends_within(5), pytest.raises((ConnectionError, http.client.HTTPException, OSError)):
        server.watch(f"{GATEWAY}/httproutes", 10)
    assert [event["object"]["code"] for event in server.watch(f"{GATEWAY}/httproutes", 1)] == [410]


@pytest.mark.parametrize(
    "rule", [{"kind": "dance"}, {"kind": "error", "share": 2}, {"kind": "error", "path": "("}, {"no": 1}, 7]
)
def test_plans_that_make_no_sense(server: ApiServer, rule: Any) -> None:
    assert server.call("POST", "/lab/faults", {"rules": [rule]}).code == 400


def test_faults_from_the_start(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"rules": [{"kind": "error", "code": 503, "path": "/nodes", "count": 1}]}')
    with ApiServer(tmp_path / "state", None, "--faults", str(plan)) as running:
        assert [running.call("GET", "/api/v1/nodes").code for _ in range(2)] == [503, 200]
