"""A Kubernetes API server that serves one kind, and answers for it what a test wants."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.http_server import Reply
from tests.support.odd_server import Talk, replies, replies_json

API, GROUP = "gateway.networking.k8s.io/v1", "/apis/gateway.networking.k8s.io/v1"
ROUTES = f"{GROUP}/namespaces/prod/httproutes"
RESOURCES: dict[str, Any] = {"resources": [{"name": "httproutes", "kind": "HTTPRoute", "namespaced": True}]}
GROUPS = {"groups": [{"versions": [{"groupVersion": API}]}]}
EVENTS = "/api/v1/namespaces/prod/events"
ROUTE = {"metadata": {"name": "llm", "uid": "1"}}


def status(code: int, reason: str, message: str = "words", **details: Any) -> Talk:
    return replies_json(code, {"kind": "Status", "reason": reason, "message": message, "details": details})


class ScriptedApi:
    """`once` sets what is answered before what is `fixed`."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Talk]] = {}
        self.asked: list[tuple[str, str, str, Any]] = []
        self.fixed = {
            "/apis": replies_json(200, GROUPS),
            "/apis/no.such/v1": replies(404, b"404 page not found\n"),
            GROUP: replies_json(200, RESOURCES),
            "/api/v1": replies_json(
                200, {"resources": [{"name": "events", "kind": "Event", "namespaced": True}]}
            ),
            f"{ROUTES}/llm": replies_json(200, ROUTE),
            ROUTES: replies_json(200, {"metadata": {}, "items": [ROUTE]}),
            f"{GROUP}/httproutes": replies_json(200, {"metadata": {}, "items": [ROUTE]}),
        }

    def once(self, path: str, *talks: Talk) -> None:
        self.answers.setdefault(path, []).extend(talks)

    def choose(self, method: str, target: str, body: bytes) -> Talk:
        path, _, query = target.partition("?")
        self.asked.append((method, path, query, json.loads(body) if body else None))
        waiting = self.answers.get(path)
        return waiting.pop(0) if waiting else self.fixed[path]

    def count(self, path: str) -> int:
        return sum(asked[1] == path for asked in self.asked)


@dataclass
class GuardedApi:
    """The same for those who come with `token`; others are refused."""

    token: str
    answered: int = 0
    refused: int = 0

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        """An answer as `serving` wants it."""
        if request.headers["Authorization"].casefold() != f"bearer {self.token}":
            self.refused += 1
            return 401, "application/json", b'{"kind": "Status", "message": "Unauthorized"}'
        self.answered += 1
        known = {GROUP: RESOURCES, f"{ROUTES}/llm": ROUTE}
        return 200, "application/json", json.dumps(known[request.path]).encode()


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now
