"""The health check of the containers, against servers that answer as Airflow's do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.support.plans import ROOT

HEALTH = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}}


@pytest.fixture
def address() -> Iterator[str]:
    """Of a server whose /health is a scheduler's and whose /monitor is the API server's."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/dead" else 200)
            self.end_headers()
            self.wfile.write(json.dumps(HEALTH).encode() if self.path == "/monitor" else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def status(*arguments: str) -> int:
    command = [sys.executable, str(ROOT / "docker/healthy.py"), *arguments]
    return subprocess.run(command, capture_output=True).returncode


def test_a_component_that_answers_for_itself_is_healthy_with_200_only(address: str) -> None:
    assert status(address, "/health") == 0
    assert status(address, "/dead") == 1


def test_of_the_others_it_is_what_the_api_server_says(address: str) -> None:
    assert status(address, "/monitor", "metadatabase") == 0
    assert status(address, "/monitor", "triggerer") == 1
    assert status(address, "/dead", "metadatabase") == 1


@pytest.mark.parametrize("arguments", [("/health", "triggerer"), ("/monitor", "dag_processor")])
def test_an_answer_without_the_component_is_not_healthy(address: str, arguments: tuple[str, str]) -> None:
    assert status(address, *arguments) != 0


def test_nobody_is_not_healthy(address: str) -> None:
    assert status("127.0.0.1:1", "/health") != 0
