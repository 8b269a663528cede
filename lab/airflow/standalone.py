"""Airflow from this checkout: SQLite, LocalExecutor, its four components side by side."""

import asyncio
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from lab.airflow.client import AirflowClient
from lab.airflow.settings import USERS, settings
from lab.host import processes
from lab.host.addresses import Claims
from lab.host.processes import Process, ProcessError
from lab.host.state import write_json, write_private

PATIENCE, STOP_PATIENCE = 300.0, 5.0

# The scheduler's workers are forks of it, and every task is a fork of a worker: what the scheduler has
# imported no task imports again, which is most of the time that a short task takes (docs/performance.md).
SCHEDULER = """
import airflow.sdk.execution_time.task_runner
import airflow.providers.cncf.kubernetes.hooks.kubernetes
import inference_rollouts.dag
import inference_rollouts.retire_dag
import numpy
from airflow.__main__ import main
main()
"""
RECORD = "processes.json"
COMPONENTS = ("scheduler", "dag_processor", "triggerer")


@dataclass
class Airflow:
    """An Airflow whose whole state is in `home`, which is emptied first.

    `start()` returns once every component is healthy; `stop()` ends exactly what was started. As a
    context manager it does both. `extra` are further environment variables of every component; `preloaded`:
    the scheduler has imported what tasks need before it starts them.
    """

    home: Path
    extra: Mapping[str, str]
    report: Callable[[str], None] = lambda _: None
    port: int = field(init=False)
    passwords: dict[str, str] = field(default_factory=lambda: {u: secrets.token_urlsafe(12) for u in USERS})
    processes: dict[str, Process] = field(default_factory=dict)
    preloaded: bool = True
    _environment: dict[str, str] = field(default_factory=dict, repr=False)
    _claims: Claims = field(default_factory=Claims, repr=False)

    def __post_init__(self) -> None:
        self.port = self._claims.port(preferred=8088)

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
        write_private(self.home / "passwords.json", json.dumps(self.passwords))
        self._environment = settings(self.home, self.port) | dict(self.extra)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._migrate()
                for name in self._commands():
                    self.start_again(name)
                await self._healthy()
        except TimeoutError as error:
            self.stop()
            raise ProcessError(
                f"Airflow is not up after {PATIENCE:.0f} s; see {self.home / 'logs'}"
            ) from error
        except BaseException:
            self.stop()
            raise
        self._claims.let_go()

    def start_again(self, name: str) -> None:
        """Start a component that has ended, as it was; its log begins anew."""
        self._start(name, self._commands()[name])

    def stop(self) -> None:
        """End every component with its workers; a task that is at work is not waited for."""
        stopping, self.processes = self.processes, {}
        processes.stop(stopping.values(), patience=STOP_PATIENCE)
        self._claims.let_go()
        (self.home / RECORD).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        asyncio.run(self.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _migrate(self) -> None:
        migration = self._start("db-migrate", ["-m", "airflow", "db", "migrate"])
        await migration.succeeded()
        del self.processes[migration.name]
        self.report("Airflow's database is made")

    def _commands(self) -> dict[str, list[str]]:
        scheduler = ["-c", SCHEDULER] if self.preloaded else ["-m", "airflow"]
        return {
            "api-server": ["-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(self.port)],
            "scheduler": [*scheduler, "scheduler", "--skip-serve-logs"],
            "dag-processor": ["-m", "airflow", "dag-processor"],
            "triggerer": ["-m", "airflow", "triggerer", "--skip-serve-logs"],
        }

    def _start(self, name: str, arguments: Sequence[str]) -> Process:
        argv = [sys.executable, *arguments]
        log = self.home / "logs" / f"{name}.log"
        process = processes.start(name, argv, log, env=self._environment, cwd=self.home)
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
