"""Airflow from this checkout: SQLite, LocalExecutor, its four components side by side.

The pipeline reaches the lab only through two connections in the environment, as it would reach any
cluster: `kubernetes_default` (a kubeconfig) and `prometheus_default` (an address).
"""

import asyncio
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from lab import processes
from lab.addresses import free_port
from lab.airflow_client import AirflowClient
from lab.processes import Process, ProcessError
from lab.state import CHECKOUT, write_json

USERS = {"admin": "admin", "viewer": "viewer"}
PATIENCE, STOP_PATIENCE = 300.0, 5.0

# The scheduler's workers are forks of it, and every task is a fork of a worker: what the scheduler has
# imported no task imports again, which is most of the time that a short task takes.
SCHEDULER = """
import airflow.sdk.execution_time.task_runner
import airflow.providers.cncf.kubernetes.hooks.kubernetes
import numpy
from airflow.__main__ import main
main()
"""
RECORD = "processes.json"
COMPONENTS = ("scheduler", "dag_processor", "triggerer")


def connections(kubeconfig: Path, prometheus_url: str) -> dict[str, str]:
    """Environment variables with the two connections that the pipeline uses."""
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig)}}
    return {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(kubernetes),
        "AIRFLOW_CONN_PROMETHEUS_DEFAULT": json.dumps({"conn_type": "prometheus", "host": prometheus_url}),
    }


@dataclass
class Airflow:
    """An Airflow whose whole state is in `home`, which is emptied first.

    `start()` returns once every component is healthy; `stop()` ends exactly what was started. As a
    context manager it does both. `extra` are further environment variables of every component.
    """

    home: Path
    extra: Mapping[str, str]
    report: Callable[[str], None] = lambda _: None
    port: int = field(default_factory=lambda: free_port(preferred=8088))
    passwords: dict[str, str] = field(default_factory=lambda: {u: secrets.token_urlsafe(12) for u in USERS})
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where people and the REST client find it."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, username: str = "admin") -> AirflowClient:
        """A REST client signed in as one of the two users, `admin` or `viewer`."""
        return AirflowClient(self.url, username, self.passwords[username])

    async def start(self) -> None:
        """Make the database, start the components and wait until all are healthy."""
        stop_recorded(self.home)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        _write_private(self.home / "passwords.json", json.dumps(self.passwords))
        environment = settings(self.home, self.port) | dict(self.extra)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._migrate(environment)
                for name, arguments in self._commands().items():
                    self._start(name, arguments, environment)
                await self._healthy()
        except TimeoutError as error:
            self.stop()
            raise ProcessError(
                f"Airflow is not up after {PATIENCE:.0f} s; see {self.home / 'logs'}"
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every component with its workers; a task that is at work is not waited for."""
        stopping, self.processes = self.processes, {}
        processes.stop(stopping.values(), patience=STOP_PATIENCE)
        (self.home / RECORD).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        asyncio.run(self.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _migrate(self, environment: Mapping[str, str]) -> None:
        migration = self._start("db-migrate", ["-m", "airflow", "db", "migrate"], environment)
        await migration.succeeded()
        del self.processes[migration.name]
        self.report("Airflow's database is made")

    def _commands(self) -> dict[str, list[str]]:
        return {
            "api-server": ["-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(self.port)],
            "scheduler": ["-c", SCHEDULER, "scheduler", "--skip-serve-logs"],
            "dag-processor": ["-m", "airflow", "dag-processor"],
            "triggerer": ["-m", "airflow", "triggerer", "--skip-serve-logs"],
        }

    def _start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Process:
        argv = [sys.executable, *arguments]
        log = self.home / "logs" / f"{name}.log"
        process = processes.start(name, argv, log, env=environment, cwd=self.home)
        self.processes[name] = process
        record = {name: process.record() for name, process in self.processes.items()}
        write_json(self.home / RECORD, {"url": self.url, "processes": record})
        return process

    async def _healthy(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session:
            # Airflow builds its task API at the first request, for seconds in which it answers nobody.
            while await _answer(session, "/execution/health") is None:
                await self._pause()
            while not _all_healthy(await _answer(session, "/api/v2/monitor/health")):
                await self._pause()
        self.report(f"Airflow is healthy at {self.url}")

    async def _pause(self) -> None:
        for process in self.processes.values():
            process.check_alive()
        await asyncio.sleep(0.2)


def stop_recorded(home: Path) -> bool:
    """End an Airflow that an earlier interpreter left running in `home`; true if there was one."""
    record = home / RECORD
    if not record.exists():
        return False
    left = json.loads(record.read_text())["processes"]
    processes.stop((Process.from_record(name, entry) for name, entry in left.items()), patience=STOP_PATIENCE)
    record.unlink()
    return True


def settings(home: Path, port: int) -> dict[str, str]:
    """The environment of every component: ours where it matters, the caller's for the rest."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "PYTHONDONTWRITE"))}
    configured = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "6",
        "CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__SECRET_KEY": secrets.token_urlsafe(64),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "SCHEDULER__MP_START_METHOD": "fork",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    return (
        inherited
        | {f"AIRFLOW__{name}": value for name, value in configured.items()}
        | {
            "AIRFLOW_HOME": str(home),
            "NO_PROXY": "localhost,127.0.0.0/8",
            "no_proxy": "localhost,127.0.0.0/8",
        }
    )


async def _answer(session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
    try:
        async with session.get(path) as answer:
            return dict(await answer.json(content_type=None)) if answer.ok else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


def _all_healthy(health: dict[str, Any] | None) -> bool:
    return health is not None and all(
        (health.get(name) or {}).get("status") == "healthy" for name in COMPONENTS
    )


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
