"""Envoy as a process: its bootstrap file and command line, and its admin interface."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import aiohttp

from lab.gateway.xds import MANAGER, ROUTER, file_source
from lab.kube.objects import Obj

CONFIRM_SECONDS = 5.0
POLL_SECONDS = 0.004


class Unconfirmed(Exception):
    """Envoy does not answer, or has not taken up a new configuration in time."""


class Rejected(Exception):
    """Envoy refused a configuration and goes on with the one before."""


def prepare(directory: Path, admin_port: int) -> list[str]:
    """Write `DIR/envoy/bootstrap.json` for an Envoy without listeners; returns the command that runs it.

    `directory` is the lab's state directory; the admin interface is 127.0.0.1:`admin_port`.
    """
    home = directory.absolute() / "envoy"
    shutil.rmtree(home, ignore_errors=True)
    (home / "eds").mkdir(parents=True)
    for name in ("lds", "cds"):
        write_atomically(home / f"{name}.json", {"version_info": "none", "resources": []})
    bootstrap = {
        "node": {"id": "lab-gateway", "cluster": "lab"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "dynamic_resources": {
            "lds_config": file_source(str(home / "lds.json")),
            "cds_config": file_source(str(home / "cds.json")),
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {}}]},
    }
    path = home / "bootstrap.json"
    write_atomically(path, bootstrap)
    quiet = ("--log-level", "warning", "--component-log-level", "ext_proc:error", "--disable-hot-restart")
    return [executable(), "--config-path", str(path), "--concurrency", "1", *quiet]


def executable() -> str:
    """The `envoy` beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else shutil.which("envoy") or "envoy"


def write_atomically(path: Path, value: Obj) -> None:
    """Replace a file by a rename, which is what Envoy watches for."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)


class Admin:
    """Envoy's admin interface, at the address that the bootstrap file in `home` names."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close connections."""
        if self._session:
            await self._session.close()

    async def check_alive(self) -> None:
        """Unconfirmed if Envoy does not answer."""
        await self.statistics("^none$")

    async def statistics(self, pattern: str) -> dict[str, str | int]:
        """Counters, gauges and texts whose names match; Unconfirmed if Envoy does not answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        url = f"http://{self._address()}/stats"
        try:
            async with self._session.get(url, params={"format": "json", "filter": pattern}) as response:
                listing = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unconfirmed(f"Envoy does not answer at {url}") from error
        return {each["name"]: each["value"] for each in listing["stats"] if "name" in each}

    def _address(self) -> str:
        try:
            bootstrap = json.loads((self._home / "bootstrap.json").read_text())
        except FileNotFoundError as error:
            raise Unconfirmed(f"there is no Envoy in {self._home}") from error
        socket = bootstrap["admin"]["address"]["socket_address"]
        return f"{socket['address']}:{socket['port_value']}"

    async def in_force(self, subscription: str, version: str) -> bool:
        """Whether a subscription is at `version`."""
        statistics = await self.statistics(f"^{_quoted(subscription)}.version_text$")
        return statistics.get(f"{subscription}.version_text") == version

    async def clusters_warm(self) -> None:
        """Return when every cluster has its first endpoints and can be routed to."""
        gauge = "cluster_manager.warming_clusters"
        deadline = asyncio.get_running_loop().time() + CONFIRM_SECONDS
        while (await self.statistics(f"^{_quoted(gauge)}$")).get(gauge):
            if asyncio.get_running_loop().time() > deadline:
                raise Unconfirmed("Envoy still waits for the endpoints of a cluster")
            await asyncio.sleep(POLL_SECONDS)

    async def rejections(self, subscription: str) -> int:
        """How many updates of a subscription Envoy has refused so far."""
        name = f"{subscription}.update_rejected"
        return int((await self.statistics(f"^{_quoted(name)}$")).get(name, 0))

    async def confirm(self, subscription: str, version: str, rejections: int) -> None:
        """Return when a subscription is at `version`; Rejected if it refused more than `rejections`."""
        deadline = asyncio.get_running_loop().time() + CONFIRM_SECONDS
        while not await self.in_force(subscription, version):
            if await self.rejections(subscription) > rejections:
                raise Rejected(f"Envoy rejected version {version} of {subscription}")
            if asyncio.get_running_loop().time() > deadline:
                raise Unconfirmed(f"Envoy has not taken up version {version} of {subscription}")
            await asyncio.sleep(POLL_SECONDS)


async def validate(home: Path, table: Obj) -> str | None:
    """What Envoy would say against a route table; None if it would take it."""
    without_type = {name: value for name, value in table.items() if name != "@type"}
    manager = {
        "@type": MANAGER,
        "stat_prefix": "validate",
        "route_config": {**without_type, "validate_clusters": False},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    listener = {"name": "validate", "address": address, "filter_chains": [chain]}
    path = home / "validate.json"
    write_atomically(path, {"static_resources": {"listeners": [listener]}})
    process = await asyncio.create_subprocess_exec(
        *[executable(), "--mode", "validate", "--log-level", "error", "--config-path", str(path)],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    path.unlink()
    if process.returncode == 0:
        return None
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1].partition(str(path))[2].lstrip("': ") or lines[-1] if lines else "Envoy refuses it"


def _quoted(text: str) -> str:
    return text.replace(".", "[.]")
