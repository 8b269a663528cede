"""GKE's node pool API on a free port: the shapes that it documents, and the failures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.http_server import Reply, serving

CLUSTER = "projects/shop/locations/us-central1/clusters/prod"
NODE_POOLS = f"/v1/{CLUSTER}/nodePools"
OPERATIONS = "/v1/projects/shop/locations/us-central1/operations"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"

Object = dict[str, Any]
Answer = tuple[int, Object]


def refusal(code: int, status: str, message: str) -> Answer:
    return code, {"error": {"code": code, "message": message, "status": status}}


@dataclass
class FakeGke:
    """One cluster. Creations are done after `polls` looks at the operation; with `condition` (code, message)
    they fail, and leave the pool in `leaves` (None: no pool). `faults` are answered first, in turn.
    """

    polls: int = 2
    condition: tuple[str, str] | None = None
    leaves: str | None = "ERROR"
    token: str = "secret"
    on_ready: Callable[[Object], None] = lambda pool: None
    heard: Callable[[str], object] = lambda method: None  # called before a request is answered
    faults: list[Answer | tuple[()] | None] = field(default_factory=list)
    pools: dict[str, Object] = field(default_factory=dict)
    operations: list[Object] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Object] = field(default_factory=list)
    url: str = ""
    tokens: int = 0  # how many were given

    def answer(self, method: str, path: str, headers: Any, body: Object | None) -> Answer | None:
        """The answer to a request; None cuts the connection, after the request took effect."""
        if path == TOKEN:
            assert headers["Metadata-Flavor"] == "Google"
            self.tokens += 1
            return 200, {"access_token": self.token, "expires_in": 3599, "token_type": "Bearer"}
        self.requests.append((method, path))
        self.heard(method)
        if headers["Authorization"] != f"Bearer {self.token}":
            return refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        fault = self.faults.pop(0) if self.faults else ()
        if fault and fault is not None:
            return fault
        done = self._route(method, path, body)
        return None if fault is None else done

    def _route(self, method: str, path: str, body: Object | None) -> Answer:
        if path == OPERATIONS:
            return 200, {"operations": [dict(self._progressed(each)) for each in self.operations]}
        if path == f"/v1/{CLUSTER}":
            return 200, {"name": "prod", "status": "RUNNING", "location": "us-central1"}
        if path == NODE_POOLS and method == "POST":
            assert body is not None
            return self._create(body["nodePool"])
        name = re.fullmatch(f"{NODE_POOLS}/([a-z0-9-]+)", path)
        if name is None or name[1] not in self.pools:
            return refusal(404, "NOT_FOUND", f"Not found: {path}.")
        return 200, self.pools[name[1]] if method == "GET" else self._delete(name[1])

    def _create(self, pool: Object) -> Answer:
        if pool["name"] in self.pools:
            return refusal(409, "ALREADY_EXISTS", f"Already exists: {NODE_POOLS}/{pool['name']}.")
        self.bodies.append(pool)
        self.pools[pool["name"]] = {**pool, "status": "PROVISIONING"}
        return 200, self._begin("CREATE_NODE_POOL", pool["name"])

    def _delete(self, name: str) -> Object:
        self.pools[name]["status"] = "STOPPING"
        return self._begin("DELETE_NODE_POOL", name)

    def _begin(self, kind: str, name: str) -> Object:
        number = len(self.operations) + 1
        operation = {
            "name": f"operation-{number}",
            "operationType": kind,
            "status": "PENDING",
            "startTime": f"2026-01-01T00:00:{number:02}.000000000Z",
            "targetLink": f"https://container.googleapis.com/v1/projects/42/zones/us-central1/clusters/prod"
            f"/nodePools/{name}",
            "left": self.polls,
        }
        self.operations.append(operation)
        return operation

    def _progressed(self, operation: Object) -> Object:
        if operation["status"] != "DONE":
            operation["left"] -= 1
            operation["status"] = "RUNNING" if operation["left"] >= 0 else "DONE"
            if operation["status"] == "DONE":
                self._finish(operation)
        return operation

    def _finish(self, operation: Object) -> None:
        name = operation["targetLink"].rpartition("/")[2]
        if operation["operationType"] == "DELETE_NODE_POOL":
            del self.pools[name]
        elif self.condition is None:
            self.pools[name]["status"] = "RUNNING"
            self.on_ready(self.pools[name])
        else:
            code, message = self.condition
            condition = {"code": code, "canonicalCode": "RESOURCE_EXHAUSTED", "message": message}
            operation["nodepoolConditions"] = [condition]
            operation["error"] = {"code": 8, "message": message}
            if self.leaves is None:
                del self.pools[name]
            else:
                self.pools[name] |= {"status": self.leaves, "conditions": [condition]}

    def gone_wrong_before(self, name: str) -> None:
        """An operation of another day, which failed and left nothing."""
        self._begin("CREATE_NODE_POOL", name)
        self.operations[-1] |= {"status": "DONE", "error": {"code": 8, "message": "GCE_STOCKOUT of old"}}

    def asked(self, method: str) -> int:
        """How many requests of this method there were."""
        return sum(each == method for each, _ in self.requests)


@contextmanager
def serving_gke(fake: FakeGke) -> Iterator[FakeGke]:
    """The fake behind HTTP on loopback."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply | None:
        given = json.loads(body) if body else None
        answered = fake.answer(request.command, request.path, request.headers, given)
        return (
            None if answered is None else (answered[0], "application/json", json.dumps(answered[1]).encode())
        )

    with serving(answer) as url:
        fake.url = url
        yield fake
