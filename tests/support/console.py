"""A console in memory: its own routes, with Airflow's own users, over a source that a test makes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from inference_rollouts.console.app import PREFIX, create_app
from inference_rollouts.console.protocols import Source


def mounted(source: Source, root_path: str = "") -> FastAPI:
    """The console as Airflow mounts it, reached under a path."""
    from airflow.api_fastapi.app import init_auth_manager

    root = FastAPI(root_path=root_path)
    init_auth_manager(root)
    root.mount(PREFIX, create_app(source))
    return root


def token(role: str) -> str:
    """Of a user with a role of Airflow's simple auth manager: `VIEWER`, `USER`..."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    manager: Any = get_auth_manager()
    return str(manager.generate_jwt(SimpleAuthManagerUser(username=role.lower(), role=role)))


def client(app: FastAPI, role: str | None = None, root_path: str = "") -> TestClient:
    """Somebody with a role, signed in by a cookie as a browser is; None: nobody."""
    cookies = {"_token": token(role)} if role else {}
    return TestClient(app, base_url=f"http://airflow{root_path}{PREFIX}", cookies=cookies)


class FakeSource:
    """Rollouts of these DAGs, and what was commanded."""

    def __init__(self, *dags: str) -> None:
        self.dags = dags
        self.commands: list[tuple[str, ...]] = []

    def overview(self) -> dict[str, Any]:
        rows = [{"dag": dag, "run": "r1"} for dag in self.dags]
        return {"now": 0.0, "rollouts": rows, "history": rows, "plans": rows, "stops": [{"dags": self.dags}]}

    def history(self, before: float) -> dict[str, Any]:
        return {"now": 0.0, "history": [{"dag": dag, "run": "r0"} for dag in self.dags], "older": None}

    def one(self, dag: str, run: str) -> dict[str, Any] | None:
        return {"dag": dag, "run": run} if dag in self.dags else None

    def series(self, dag: str, run: str) -> dict[str, Any] | None:
        return self.one(dag, run)

    def rejudged(self, dag: str, run: str, alpha: float) -> dict[str, Any] | None:
        return self.one(dag, run)

    def plan(self, dag: str) -> dict[str, Any] | None:
        return self.one(dag, "")

    def command(self, dag: str, run: str, what: str, who: str, why: str) -> str:
        self.commands.append((dag, run, what, who, why))
        return f"{what}: done"
