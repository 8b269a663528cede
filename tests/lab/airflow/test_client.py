"""The REST client against a scripted Airflow: signing in, expired tokens, what is not there."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from lab.airflow.client import AirflowClient, AirflowError


class ScriptedAirflow(ThreadingHTTPServer):
    """Accepts only the token it gave out last; answers from `answers`, 404 for the rest."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens = 0
        self.answers: dict[str, Any] = {}
        self.seen: list[tuple[str, str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedAirflow

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
        self.server.seen.append((self.command, path, body))
        if path == "/auth/token":
            if body != {"username": "admin", "password": "right"}:
                return self._answer(401, {"detail": "Invalid credentials"})
            self.server.tokens += 1
            return self._answer(201, {"access_token": str(self.server.tokens)})
        if self.headers["Authorization"] != f"Bearer {self.server.tokens}":
            return self._answer(401, {"detail": "Invalid or expired token"})
        if path not in self.server.answers:
            return self._answer(404, {"detail": "not found"})
        return self._answer(200, self.server.answers[path])

    do_POST = do_PATCH = do_GET

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[ScriptedAirflow]:
    with ScriptedAirflow() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(airflow: ScriptedAirflow) -> AirflowClient:
    return AirflowClient(airflow.url, "admin", "right")


def test_it_signs_in_once(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    airflow.answers["/api/v2/dags"] = {"dags": [{"dag_id": "rollout_llm"}]}
    assert client.dag_ids() == client.dag_ids() == {"rollout_llm"}
    assert airflow.tokens == 1


def test_an_expired_token_is_renewed(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    airflow.answers["/api/v2/dags"] = {"dags": []}
    client.dag_ids()
    airflow.tokens += 1
    assert client.dag_ids() == set()


def test_a_wrong_password_is_an_error(airflow: ScriptedAirflow) -> None:
    with pytest.raises(AirflowError, match="Invalid credentials"):
        AirflowClient(airflow.url, "admin", "wrong").dag_ids()


def test_a_run_is_triggered_with_its_parameters(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    airflow.answers["/api/v2/dags/rollout_llm/dagRuns"] = {"dag_run_id": "manual__1"}
    assert client.trigger("rollout_llm", {"bake": "8s"}) == "manual__1"
    assert airflow.seen[-1][2] == {"logical_date": None, "conf": {"bake": "8s"}}


def test_an_xcom_that_is_not_there_is_none(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    assert client.xcom("rollout_llm", "manual__1", "report", "outcome") is None


def test_other_missing_things_are_errors(client: AirflowClient) -> None:
    with pytest.raises(AirflowError, match="404"):
        client.run("rollout_llm", "manual__1")


def test_a_dag_that_cannot_be_parsed_is_an_error(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    airflow.answers["/api/v2/dags"] = {"dags": []}
    broken = {"filename": "inference_rollouts.py", "stack_trace": "SyntaxError: here"}
    airflow.answers["/api/v2/importErrors"] = {"import_errors": [broken]}
    with pytest.raises(AirflowError, match="SyntaxError: here"):
        client.wait_for_dag("rollout_llm")


def test_logs_are_text_with_their_errors(airflow: ScriptedAirflow, client: AirflowClient) -> None:
    failure = {"event": "Task failed", "error_detail": [{"exc_type": "RouteDrift", "exc_value": "changed"}]}
    path = "/api/v2/dags/rollout_llm/dagRuns/manual__1/taskInstances/preflight/logs/1"
    airflow.answers[path] = {"content": [{"event": "Starting"}, failure]}
    assert (
        client.logs("rollout_llm", "manual__1", "preflight") == "Starting\nTask failed\nRouteDrift: changed"
    )


def test_no_airflow_is_an_error() -> None:
    with pytest.raises(AirflowError, match="does not answer"):
        AirflowClient("http://127.0.0.1:1", "admin", "right").dag_ids()
