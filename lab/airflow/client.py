"""The few calls of Airflow's REST API that a person at the UI would make."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests

TERMINAL = frozenset({"success", "failed"})


class AirflowError(Exception):
    """Airflow refused a call, or something did not happen in time."""


class AirflowClient:
    """A signed-in user. Times are in seconds; every call may raise AirflowError."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._login = {"username": username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # loopback goes through no proxy

    def dag_ids(self) -> set[str]:
        """The DAGs that have been parsed so far."""
        return {dag["dag_id"] for dag in self.get("/dags", limit=500)["dags"]}

    def import_errors(self) -> dict[str, str]:
        """Stack traces of the files that failed to parse."""
        return {e["filename"]: e["stack_trace"] for e in self.get("/importErrors")["import_errors"]}

    def wait_for_dag(self, dag_id: str, timeout: float = 60) -> None:
        """Return when `dag_id` is parsed; raise with the reason when it cannot be."""
        deadline = time.monotonic() + timeout
        while dag_id not in self.dag_ids():
            if errors := self.import_errors():
                raise AirflowError("\n".join(f"{file}:\n{trace}" for file, trace in errors.items()))
            if time.monotonic() > deadline:
                raise AirflowError(f"DAG {dag_id} was not parsed within {timeout:.0f} s")
            time.sleep(0.3)

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause a DAG, or let it run."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run with these parameters; returns its run id."""
        body = {"logical_date": None, "conf": conf or {}}
        run = self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """The DAG's runs, the oldest first: `dag_run_id`, `state`, `run_type`..."""
        runs = self.get(f"/dags/{quote(dag_id)}/dagRuns", limit=100)["dag_runs"]
        return sorted(runs, key=lambda run: str(run["run_after"]))

    def make_pool(self, name: str, slots: int) -> None:
        """Create a pool that counts deferred tasks."""
        self._call("POST", "/pools", json={"name": name, "slots": slots, "include_deferred": True})

    def tell(self, asset: str, extra: Mapping[str, Any]) -> None:
        """Create an event of the asset with this name, as whoever made what it stands for does."""
        [found] = self.get("/assets", name_pattern=asset)["assets"]
        self._call("POST", "/assets/events", json={"asset_id": found["id"], "extra": dict(extra)})

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The DAG run: `state`, `start_date`, `end_date`, `conf`..."""
        return dict(self.get(_run(dag_id, run_id)))

    def wait(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """The state in which the run ended: "success" or "failed"."""
        deadline = time.monotonic() + timeout
        while (state := self.run(dag_id, run_id)["state"]) not in TERMINAL:
            if time.monotonic() > deadline:
                raise AirflowError(f"{dag_id} {run_id} is still {state} after {timeout:.0f} s")
            time.sleep(0.5)
        return str(state)

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as "success" or "failed", as a person does in the UI."""
        self._call("PATCH", _run(dag_id, run_id), json={"state": state})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run, as a person does who wants to be rid of it."""
        self._call("PATCH", _run(dag_id, run_id), json={"state": "failed"})
        self._request("DELETE", _run(dag_id, run_id))

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a run, so that it begins anew."""
        self._call("POST", f"{_run(dag_id, run_id)}/clear", json={"dry_run": False})

    def set_note(self, dag_id: str, run_id: str, note: str) -> None:
        """Write the run's note."""
        self._call("PATCH", _run(dag_id, run_id), json={"note": note})

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What a task asks of a person: `subject`, `body`, `options`..."""
        return dict(self.get(f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/-1/hitlDetails"))

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Choose an option of what a task asks."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/-1/hitlDetails"
        self._call("PATCH", path, json={"chosen_options": [option]})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's tasks: `task_id`, `state`, `start_date`, `end_date`, `try_number`..."""
        instances = self.get(f"{_run(dag_id, run_id)}/taskInstances", limit=500)["task_instances"]
        return list(instances)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task left under `key`; None when it left nothing."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        answer = self._request("GET", path, params={"deserialize": "true"})
        return None if answer.status_code == 404 else _decoded(answer)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> str:
        """What a task logged in one try, as text; errors in one line each."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        return "\n".join(_log_text(line) for line in self.get(path, full_content="true")["content"])

    def run_page(self, dag_id: str, run_id: str) -> str:
        """Where a person looks at the run."""
        return f"{self.url}/dags/{dag_id}/runs/{quote(run_id)}"

    def get(self, path: str, **params: Any) -> Any:
        """The decoded answer to `GET /api/v2{path}`."""
        return self._call("GET", path, params=params)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return _decoded(self._request(method, path, **options))

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        with _as_airflow_error():
            if "Authorization" not in self._session.headers:
                self._sign_in()
            answer = self._session.request(method, f"{self.url}/api/v2{path}", timeout=30, **options)
            if answer.status_code == 401:
                self._sign_in()
                answer = self._session.request(method, f"{self.url}/api/v2{path}", timeout=30, **options)
            return answer

    def _sign_in(self) -> None:
        answer = self._session.post(f"{self.url}/auth/token", json=self._login, timeout=30)
        self._session.headers["Authorization"] = f"Bearer {_decoded(answer)['access_token']}"


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}"


def _decoded(answer: requests.Response) -> Any:
    if not answer.ok:
        request = answer.request
        raise AirflowError(f"{request.method} {request.url}: {answer.status_code} {answer.text[:500]}")
    return answer.json()


def _log_text(line: Any) -> str:
    if not isinstance(line, dict):
        return str(line)
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return "\n".join([str(line.get("event", "")), *errors])


@contextmanager
def _as_airflow_error() -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        raise AirflowError(f"Airflow does not answer: {error}") from error
