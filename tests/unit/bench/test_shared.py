"""When a pod that ends has nothing left to do in the lab that tests share."""

from __future__ import annotations

from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from bench.shared import is_idle
from tests.support.http_server import Reply, serving

IDLE, RUNNING, WAITING = (
    f'vllm:num_requests_running{{engine="0"}} {running}\nvllm:num_requests_waiting{{engine="0"}} {waiting}\n'
    for running, waiting in ((0, 0), (1, 0), (0, 2))
)
NO_SERVER = "process_start_time_seconds 1.0\n"


def pod(*pages: str, into: ExitStack) -> dict[str, Any]:
    """One with a port for each page of metrics, that of a container of its own."""

    def shown(page: str) -> int:
        def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
            return (200 if request.path == "/metrics" else 404), "text/plain", page.encode()

        return int(into.enter_context(serving(answer)).rpartition(":")[2])

    containers = [{"ports": [{"containerPort": shown(page)}]} for page in pages]
    return {"spec": {"containers": containers}, "status": {"podIP": "127.0.0.1"}}


@pytest.mark.parametrize(
    ("pages", "idle"),
    [
        ([IDLE], True),
        ([IDLE, IDLE], True),
        ([IDLE, RUNNING], False),
        ([WAITING, IDLE], False),
        ([NO_SERVER], False),
        ([], False),
    ],
)
def test_a_pod_is_idle_when_the_server_at_each_of_its_ports_is(pages: list[str], idle: bool) -> None:
    with ExitStack() as servers:
        assert is_idle(pod(*pages, into=servers)) is idle


def test_one_that_does_not_answer_may_be_busy() -> None:
    with ExitStack() as servers:
        gone = pod(IDLE, into=servers)
    assert not is_idle(gone)
    assert not is_idle(gone | {"status": {}})
