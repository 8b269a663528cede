"""Start a whole lab: every process as early as what it needs is there, and none left over on failure."""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from lab.airflow.standalone import stop_recorded
from lab.gateway import envoy
from lab.host import addresses, processes
from lab.host.processes import Process, ProcessError
from lab.host.state import CHECKOUT, StateDirectory, StateError, write_private
from lab.kube.client import Kube, KubeError
from lab.kube.kubeconfig import load_kubeconfig
from lab.lifecycle import health
from lab.lifecycle.foreign import Foreign, ForeignError, join, leave, read_foreign, survey
from lab.monitoring.prometheus import prometheus_argv, write_config
from lab.scope import HOME

MODEL = "llama-3.1-8b"
ALIASES = {"food-review": 0.5}  # names that only a picker can resolve, and the share of requests for them
SILENCE = 5.0  # seconds until the ports of ended processes must be silent
PATIENCE = 60.0
MILESTONES = {
    "gateway": "gateway answers at {gateway[url]}",
    "pods": "every pod of today's pool is ready",
    "targets": "Prometheus scrapes them at {prometheus[url]}",
}
Report = Callable[[str], None]


class Scope(NamedTuple):
    """Arguments that keep the lab's processes to their part of a cluster; none where all of it is theirs."""

    namespace: tuple[str, ...] = ()
    lab: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass
class Startup:
    """One lab coming up. `record` becomes `lab.json` and is kept current from the first process on.

    `rate` is the clients' requests/s, `prometheus` the program; `report` is told of every milestone. With
    `pickers`, each pool's endpoint picker chooses the pod for every request, else Envoy does. A `foreign`
    cluster takes the place of the lab's own API server.
    """

    directory: StateDirectory
    rate: float
    prometheus: Path
    report: Report
    pickers: bool = True
    foreign: Foreign | None = None
    record: dict[str, Any] = field(init=False)
    deadline: float = field(default_factory=lambda: time.monotonic() + PATIENCE)
    _started: list[Process] = field(default_factory=list)
    _claims: addresses.Claims = field(init=False)

    def __post_init__(self) -> None:
        self._claims = addresses.Claims()
        subnet = self._claims.subnet()
        gateway, port = f"{subnet}.1", addresses.GATEWAY_PORT
        self.record = {
            "ready": False,
            "namespace": HOME,
            "subnet": f"{subnet}.0/24",
            "gateway": {"address": gateway, "port": port, "url": f"http://{gateway}:{port}"},
            "prometheus": {"url": f"http://127.0.0.1:{self._claims.port(preferred=9090)}"},
            "envoy": {"admin_url": f"http://127.0.0.1:{self._claims.port(preferred=9901)}"},
            "loadgen": {"url": f"http://127.0.0.1:{self._claims.port(preferred=9100)}"},
            "aliases": ALIASES if self.pickers else {},
            "kubeconfig": str(self.directory.kubeconfig),
            "processes": {},
        }

    async def run(self) -> None:
        """Return when the lab serves: pods ready, the gateway answering, Prometheus scraping.

        Raises ProcessError when it does not come to that; all that was started is ended then. StateError
        if the directory is in use, ForeignError if the cluster cannot take a lab.
        """
        began = time.monotonic()
        try:
            await self._run()
        finally:
            self._claims.let_go()
        self.report(f"lab up in {time.monotonic() - began:.1f} s")

    async def _run(self) -> None:
        with self.directory.locked():
            if self.directory.read():
                raise StateError(f"there is a lab in {self.directory.path} already")
            self.directory.empty()
            try:
                await self._control_plane()
                await self._until_fresh()
                await self._send_load()
            except BaseException:
                _end(self.directory)
                raise

    def add_clients(self, service: str, header: str, rate: float) -> None:
        """More clients, of another service behind the gateway, who send `header` (`name=value`).

        The lab is up, and others may have recorded processes beside it.
        """
        name, folder = f"clients-{service}", self.directory.path / "clients" / service
        argv = [sys.executable, "-m", "lab.loadgen", "--url", self.record["gateway"]["url"]]
        argv += ["--model", MODEL, "--rate", str(rate), "--header", header, "--dir", str(folder)]
        log = self.directory.log(name)
        self.directory.add(processes.start(name, argv, log, env=_environment(), cwd=CHECKOUT))

    async def _control_plane(self) -> None:
        """Start what needs nothing, then, once there is an API server, what works through it."""
        state, admin = self.directory.path, self.record["envoy"]["admin_url"]
        if not self.foreign:
            self._python("apiserver", "--port", "0", "--dir", state / "apiserver")
        self._start("envoy", envoy.prepare(state, port_of(admin)))
        write_config(state, admin)
        port = port_of(self.record["prometheus"]["url"])
        self._start("prometheus", prometheus_argv(self.prometheus, state, port))
        scope = await (self._join(self.foreign) if self.foreign else self._own_apiserver())
        self.report(f"API server at {self.record['apiserver']['url']}")
        self._workers(scope)
        await self._apply_cluster(scope)

    async def _own_apiserver(self) -> Scope:
        kubeconfig = self.directory.path / "apiserver" / "kubeconfig"
        while not kubeconfig.exists():
            await self._pause("the API server wrote no kubeconfig")
        self.directory.link_kubeconfig(kubeconfig)
        self.record["apiserver"] = {"url": load_kubeconfig(kubeconfig).server}
        return Scope()

    async def _join(self, cluster: Foreign) -> Scope:
        """What is written there is recorded before, so that `down` can take it back."""
        config = read_foreign(cluster)
        namespace, lab = config["contexts"][0]["context"]["namespace"], secrets.token_hex(4)
        write_private(self.directory.kubeconfig, json.dumps(config, indent=2))
        async with Kube.from_kubeconfig(self.directory.kubeconfig) as kube:
            running = await survey(kube, namespace, lab)
            self.record |= {"namespace": namespace, "foreign": {"lab": lab, "runs": running}}
            self.record["apiserver"] = {"url": kube.endpoint.server}
            self.directory.write(self.record)
            await join(kube, namespace, lab, running)
        return Scope(
            ("--namespace", namespace), ("--lab", lab), tuple(f"--without={each}" for each in running)
        )

    def _workers(self, scope: Scope) -> None:
        gateway, subnet = self.record["gateway"], self.record["subnet"].removesuffix(".0/24")
        kubeconfig = ("--kubeconfig", str(self.directory.kubeconfig))
        access = (*kubeconfig, "--dir", str(self.directory.path), *scope.namespace)
        pickers = ["--endpoint-pickers"] if self.pickers else []
        address = ("--gateway-address", gateway["address"], *pickers)
        self._python("manager", *access, *address, *scope.lab, *scope.without)
        if self.pickers:
            self._python("gateway.picker", *kubeconfig, *scope.namespace)
        self._python("kubelet", *access, "--subnet", subnet, *scope.lab)
        self._python("monitoring", *access)
        also = [f"--also={name}={share}" for name, share in self.record["aliases"].items()]
        clients = ("--url", gateway["url"], "--model", MODEL, "--rate", "0", *also)
        port = str(port_of(self.record["loadgen"]["url"]))
        self._python("loadgen", *clients, "--dir", self.directory.path, "--port", port)

    async def _apply_cluster(self, scope: Scope) -> None:
        kubeconfig = ("--kubeconfig", self.directory.kubeconfig)
        apply = self._python("cluster", *kubeconfig, *scope.namespace, *scope.lab)
        await apply.succeeded()
        del self.record["processes"][apply.name]
        self._started.remove(apply)

    async def _until_fresh(self) -> None:
        waiting = set(MILESTONES)
        while problems := await health.problems(self.record, fresh=True):
            for name in sorted(waiting - problems.keys()):
                waiting.remove(name)
                self.report(MILESTONES[name].format(**self.record))
            await self._pause("; ".join(problems.values()))
        for name in sorted(waiting):
            self.report(MILESTONES[name].format(**self.record))

    async def _send_load(self) -> None:
        url = f"{self.record['loadgen']['url']}/rate"
        async with aiohttp.ClientSession() as session, session.post(url, json={"rate": self.rate}) as answer:
            answer.raise_for_status()
        self.record["ready"] = True
        self.directory.write(self.record)
        self.report(f"clients send {self.rate:g} requests/s")

    async def _pause(self, reason: str) -> None:
        """Wait a little, but neither for a dead process nor for ever."""
        for process in self._started:
            process.check_alive()
        if time.monotonic() > self.deadline:
            raise ProcessError(
                f"the lab is not up after {PATIENCE:.0f} s: {reason}; see {self.directory.logs}"
            )
        await asyncio.sleep(0.1)

    def _python(self, module: str, *arguments: str | Path) -> Process:
        return self._start(module.rpartition(".")[2], [sys.executable, "-m", f"lab.{module}", *arguments])

    def _start(self, name: str, argv: Sequence[str | Path]) -> Process:
        process = processes.start(name, argv, self.directory.log(name), env=_environment(), cwd=CHECKOUT)
        self._started.append(process)
        self.record["processes"][name] = process.record()
        self.directory.write(self.record)
        return process


def down(directory: StateDirectory) -> bool:
    """End every recorded process, of half a lab and of its Airflow too; false if none was recorded.

    Takes back what the lab made in a foreign cluster, whoever has its ports by now. Raises ProcessError when
    a process survives, or when something else took over one of its ports; ForeignError when the cluster
    cannot be reached: what was made there is recorded, so that a later `down` can take it back.
    """
    with directory.locked():
        left = stop_recorded(directory.airflow_home)
        return _end(directory) or left


def _end(directory: StateDirectory) -> bool:
    record = directory.read()
    if record is None:
        return False
    processes.stop(directory.processes())
    if "foreign" in record:
        with ThreadPoolExecutor(1) as thread:  # there may be a loop in this one
            thread.submit(asyncio.run, _take_back(directory, record)).result()
    directory.record_file.unlink(missing_ok=True)
    served = urls(record) if "foreign" not in record else urls({**record, "apiserver": {}})
    _await_silence(served)
    return True


def _await_silence(served: Sequence[str]) -> None:
    """Raises ProcessError when something still listens where the lab's processes did, which have ended."""
    deadline = time.monotonic() + SILENCE
    while busy := [url for url in served if addresses.is_listening(*_address(url))]:
        if time.monotonic() > deadline:
            raise ProcessError(
                f"the lab is down, but {', '.join(busy)} still accepts connections: something else has that "
                "port by now"
            )
        time.sleep(0.05)


async def _take_back(directory: StateDirectory, record: dict[str, Any]) -> None:
    try:
        async with Kube.from_kubeconfig(directory.kubeconfig) as kube:
            await leave(kube, record["namespace"], record["foreign"]["lab"])
    except KubeError as error:
        raise ForeignError(
            f"every process has ended, but what the lab made in {record['apiserver']['url']} is still there: "
            f"{error}; `down` tries again, removing {directory.record_file} gives up"
        ) from error


def urls(record: dict[str, Any]) -> list[str]:
    """Every address that the lab serves on."""
    parts = ("apiserver", "gateway", "prometheus", "envoy", "loadgen")
    return [url for part in parts for key, url in record.get(part, {}).items() if key.endswith("url")]


def port_of(url: str) -> int:
    """The port in a URL that names one."""
    return _address(url)[1]


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
