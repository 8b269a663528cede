"""A receiver of CloudEvents on a free port, that takes events, refuses them or hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.http_server import Reply, serving


@dataclass
class FakeReceiver:
    """Its address, and what came: events, and the headers of their requests.

    It answers with `status`; one that `hangs` does so when it is let go, at the end of the test.
    """

    url: str = ""
    status: int = 202
    hangs: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def occasions(self) -> list[str]:
        return [str(event["data"]["occasion"]) for event in self.events]

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        self.came.set()
        if self.hangs:
            self.let_go.wait(60)
        if self.status < 300:
            self.events.append(json.loads(body))
        self.headers.append(dict(request.headers))
        return self.status, "text/plain", b""


@contextmanager
def receiving() -> Iterator[FakeReceiver]:
    receiver = FakeReceiver()
    with serving(receiver.answer) as url:
        receiver.url = f"{url}/hooks/secret"
        try:
            yield receiver
        finally:
            receiver.let_go.set()
