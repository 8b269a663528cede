"""Probes: what a container's spec asks for, one attempt, and the counting towards a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from lab.kube.objects import Obj


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe of a container; times in seconds. `action` is the probe's spec."""

    action: Obj
    ports: dict[str, int]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    successes: int = 1
    failures: int = 3

    async def attempt(self, session: aiohttp.ClientSession, address: str) -> str | None:
        """None when the probe passes, else why not, as the kubelet words it.

        A gRPC probe passes when its port accepts connections, an exec probe always.
        """
        try:
            async with asyncio.timeout(self.timeout):
                if spec := self.action.get("httpGet"):
                    return await self._get(session, address, spec)
                if spec := self.action.get("tcpSocket") or self.action.get("grpc"):
                    await _connect(spec.get("host") or address, self._port(spec["port"]))
        except TimeoutError:
            return "context deadline exceeded"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error)
        return None

    async def _get(self, session: aiohttp.ClientSession, address: str, spec: Obj) -> str | None:
        scheme, host = spec.get("scheme", "HTTP").lower(), spec.get("host") or address
        path = "/" + spec.get("path", "/").lstrip("/")
        url = f"{scheme}://{host}:{self._port(spec['port'])}{path}"
        headers = {item["name"]: item["value"] for item in spec.get("httpHeaders") or []}
        async with session.get(url, headers=headers, allow_redirects=False, ssl=False) as response:
            passed = 200 <= response.status < 400
        return None if passed else f"HTTP probe failed with statuscode: {response.status}"

    def _port(self, port: int | str) -> int:
        named = self.ports.get(port) if isinstance(port, str) else port
        if named is None:
            raise ValueError(f"couldn't find port: {port}")
        return named


@dataclass(slots=True)
class Tally:
    """Counts results in a row; `healthy` changes when a threshold is reached."""

    probe: Probe
    healthy: bool
    _row: int = 0
    _last: bool | None = None

    def add(self, passed: bool) -> bool:
        """Take in one result; whether it is at least the threshold-th of its kind in a row."""
        self._row = self._row + 1 if passed == self._last else 1
        self._last = passed
        reached = self._row >= (self.probe.successes if passed else self.probe.failures)
        if reached:
            self.healthy = passed
        return reached


def parse_probe(spec: Obj | None, ports: Sequence[Obj]) -> Probe | None:
    """The probe a container's spec describes, with the API's defaults; None where there is none."""
    if not spec:
        return None
    return Probe(
        action=spec,
        ports={port["name"]: port["containerPort"] for port in ports if "name" in port},
        initial_delay=spec.get("initialDelaySeconds") or 0,
        period=spec.get("periodSeconds") or 10,
        timeout=spec.get("timeoutSeconds") or 1,
        successes=spec.get("successThreshold") or 1,
        failures=spec.get("failureThreshold") or 3,
    )


async def _connect(host: str, port: int) -> None:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
