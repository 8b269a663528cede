"""Airflow from this checkout: SQLite, LocalExecutor, its four components side by side.

The pipeline reaches the lab only through two connections in the environment, as it would reach any
cluster: `kubernetes_default` (a kubeconfig) and `prometheus_default` (an address).
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from lab import processes
from lab.addresses import free_port
from lab.airflow_client import AirflowClient
from lab.processes import Process, ProcessError
from lab.state import CHECKOUT, write_json

USERS = {"admin": "admin", "viewer": "viewer"}
COMPONENTS = ("scheduler", "dag_processor", "triggerer")


def connections(kubeconfig: Path, prometheus_url: str) -> dict[str, str]:
    """Environment variables with the two connections that the pipeline uses."""
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig)}}
    return {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(kubernetes),
        "AIRFLOW_CONN_PROMETHEUS_DEFAULT": json.dumps({"conn_type": "http", "host": prometheus_url}),
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

    def start(self, timeout: float = 120) -> None:
        """Make the database, start the components and wait until all are healthy."""
        stop_recorded(self.home)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        _write_private(self.home / "passwords.json", json.dumps(self.passwords))
        environment = settings(self.home, self.port) | dict(self.extra)
        try:
            self._migrate(environment)
            self._start_components(environment)
            self._wait_healthy(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every component, its workers included."""
        stopping, self.processes = self.processes, {}
        processes.stop(stopping.values(), patience=15)
        (self.home / "airflow.json").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _migrate(self, environment: Mapping[str, str]) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=environment,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise ProcessError(f"airflow db migrate failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
        self.report("Airflow's database made")

    def _start_components(self, environment: Mapping[str, str]) -> None:
        commands = {
            "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.port)],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        for name, arguments in commands.items():
            self.processes[name] = processes.start(
                name,
                [sys.executable, "-m", "airflow", *arguments],
                self.home / "logs" / f"{name}.log",
                env=environment,
                cwd=self.home,
            )
            record = {name: process.record() for name, process in self.processes.items()}
            write_json(self.home / "airflow.json", {"url": self.url, "processes": record})

    def _wait_healthy(self, deadline: float) -> None:
        while waiting := self._unhealthy():
            for process in self.processes.values():
                process.check_alive()
            if time.monotonic() > deadline:
                raise ProcessError(f"Airflow is not healthy: {', '.join(waiting)}; see {self.home / 'logs'}")
            time.sleep(0.2)
        self.report(f"Airflow healthy at {self.url}")

    def _unhealthy(self) -> list[str]:
        try:
            health = _get_json(f"{self.url}/api/v2/monitor/health")
        except requests.RequestException:
            return ["api-server"]
        return [name for name in COMPONENTS if (health.get(name) or {}).get("status") != "healthy"]


def stop_recorded(home: Path) -> bool:
    """End an Airflow that an earlier interpreter left running in `home`; true if there was one."""
    record = home / "airflow.json"
    if not record.exists():
        return False
    left = json.loads(record.read_text())["processes"]
    processes.stop((Process.from_record(name, entry) for name, entry in left.items()), patience=15)
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


def _get_json(url: str) -> dict[str, Any]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=5)
        answer.raise_for_status()
        return dict(answer.json())


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
