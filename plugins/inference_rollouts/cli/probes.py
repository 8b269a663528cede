"""What a guardian answers over HTTP: whether it is alive, and what Prometheus may know of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from types import TracebackType
from typing import Self

from inference_rollouts.core.limits import GUARDIAN_STALLED, PROBE_TIMEOUT
from inference_rollouts.core.reporting.series import (
    CLAIMED,
    ENDED,
    GUARDED,
    Sample,
    Tally,
    exposition,
    samples,
)
from inference_rollouts.rollout.guardian import Round

TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Probes:
    """`/healthz` and `/metrics` while it is entered; without a port nobody is answered."""

    def __init__(self, address: str, port: int | None, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._told = elapsed()
        self._round = Round()
        self._ended: Counter[str] = Counter()
        self._tally = Tally()
        self._server = None if port is None else ThreadingHTTPServer((address, port), _handler(self))

    @property
    def port(self) -> int | None:
        """Where it listens."""
        return self._server.server_address[1] if self._server else None

    def tell(self, seen: Round | None) -> None:
        """A round has ended; None: the cluster did not answer, which no restart of ours would mend."""
        self._told = self._elapsed()
        if seen:
            self._round = seen
            self._ended.update(ended.how.value for ended in seen.ended)
            for reading in seen.readings:
                self._tally.expect(reading)
            for closed in seen.closed:
                self._tally.add(closed)

    def is_alive(self) -> bool:
        """Whether rounds end."""
        return self._elapsed() - self._told < GUARDIAN_STALLED

    def metrics(self) -> str:
        """In Prometheus' text format."""
        seen = self._round
        gauges = [
            Sample(CLAIMED, {}, seen.rollouts),
            Sample(GUARDED, {}, seen.watching),
            *chain.from_iterable(map(samples, seen.readings)),
        ]
        ended = [Sample(ENDED, {"how": how}, count) for how, count in sorted(self._ended.items())]
        return exposition([*gauges, *ended, *self._tally.samples()])

    def __enter__(self) -> Self:
        if self._server:
            threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()


def _handler(probes: Probes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PROBE_TIMEOUT

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, probes.metrics())
            elif self.path == "/healthz":
                alive = probes.is_alive()
                self._answer(200 if alive else 503, "ok\n" if alive else "no round has ended for long\n")
            else:
                self._answer(404, "there are /healthz and /metrics\n")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds."""

    return Handler
