"""Who gets what from the console: every route, asked by nobody, by a viewer, and by who may see no DAG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

pytestmark = pytest.mark.usefixtures("database")

DAG = "rollout_llm"
OURS = {"x-inference-rollouts": "1"}


@pytest.fixture(params=["", "/airflow"], ids=["at the root", "under a path"])
def root_path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source() -> Any:
    from tests.support.console import FakeSource

    return FakeSource(DAG, "rollout_secret")


@pytest.fixture
def app(source: Any, root_path: str) -> FastAPI:
    from tests.support.console import mounted

    return mounted(source, root_path)


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path below where the console is mounted, with names for what it varies by."""
    from inference_rollouts.console.app import PREFIX

    mounts = [route for route in app.routes if getattr(route, "path", "") == PREFIX]
    [console] = [mount.app for mount in mounts]  # type: ignore[attr-defined]
    names = {"dag_id": DAG, "run_id": "r1", "name": "console.js"}
    for route in console.routes:
        assert isinstance(route, APIRoute), f"{route} would answer without asking who somebody is"
        path = re.sub(r"\{(\w+)\}", lambda match: names[match[1]], route.path)
        yield from ((method, path) for method in route.methods or ())


def ask(app: FastAPI, who: str | None, method: str, path: str, root_path: str, **headers: str) -> int:
    from tests.support.console import client

    body = {"json": {"what": "pause", "why": "a test"}} if method == "POST" else {}
    asked = client(app, who, root_path).request(
        method, path, params={"alpha": "0.05", "before": "1"}, headers=headers, **body
    )
    return int(asked.status_code)


def test_nobody_gets_anything(app: FastAPI, root_path: str) -> None:
    for method, path in routes(app):
        assert ask(app, None, method, path, root_path, **OURS) == 401, path


def test_a_forged_token_gets_nothing(app: FastAPI, root_path: str) -> None:
    for method, path in routes(app):
        assert ask(app, None, method, path, root_path, Authorization="Bearer forged", **OURS) == 403, path


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "5e-324", "many"])
def test_a_number_that_cannot_be_meant_is_refused(app: FastAPI, root_path: str, number: str) -> None:
    from tests.support.console import client

    somebody = client(app, "VIEWER", root_path)
    asked = somebody.get(f"/api/rollouts/{DAG}/r1/rejudged", params={"alpha": number}, headers=OURS)
    assert asked.status_code == 422
    before = somebody.get("/api/history", params={"before": number}, headers=OURS)
    assert before.status_code == (200 if number == "5e-324" else 422)


def test_a_viewer_sees_and_does_nothing(app: FastAPI, root_path: str, source: Any) -> None:
    for method, path in routes(app):
        wanted = 200 if method == "GET" else 403
        assert ask(app, "VIEWER", method, path, root_path, **OURS) == wanted, path
    assert source.commands == []


def test_who_may_see_no_dag_sees_none(app: FastAPI, root_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    from tests.support.console import client

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", lambda **_: False)
    monkeypatch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda **_: set())
    for method, path in routes(app):
        if DAG in path:
            assert ask(app, "USER", method, path, root_path, **OURS) == 403, path
    lists = client(app, "USER", root_path).get("/api/rollouts").json()
    assert lists["rollouts"] == lists["history"] == lists["plans"] == []


def test_a_list_has_only_what_somebody_may_see_and_says_what_they_may_edit(
    app: FastAPI, root_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    from tests.support.console import client

    allowed = {"GET": {DAG}, "PUT": set()}
    monkeypatch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda user, method: allowed[method])
    lists = client(app, "USER", root_path).get("/api/rollouts").json()
    assert [(each["dag"], each["may_edit"]) for each in lists["rollouts"]] == [(DAG, False)]


def test_a_page_of_another_site_commands_nothing(app: FastAPI, root_path: str, source: Any) -> None:
    for method, path in routes(app):
        if method != "GET":
            assert ask(app, "ADMIN", method, path, root_path) == 403, path
    assert source.commands == []


def test_every_answer_forbids_what_is_not_ours(app: FastAPI, root_path: str) -> None:
    from tests.support.console import client

    for who, path in (("VIEWER", "/"), ("VIEWER", "/api/rollouts"), (None, "/"), (None, "/nothing")):
        headers = client(app, who, root_path).get(path).headers
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_bundle_is_sent_once(app: FastAPI, root_path: str) -> None:
    from tests.support.console import client

    viewer = client(app, "VIEWER", root_path)
    tag = viewer.get("/console.js").headers["etag"]
    assert viewer.get("/console.js", headers={"if-none-match": tag}).status_code == 304
    assert viewer.get("/..%2fplugin.py").status_code == 404


def test_who_may_edit_runs_commands_in_their_own_name(app: FastAPI, root_path: str, source: Any) -> None:
    from tests.support.console import client

    path = f"/api/rollouts/{DAG}/r1/commands"
    user = client(app, "USER", root_path)
    answer = user.post(path, json={"what": "pause", "why": "a look first"}, headers=OURS)
    assert (answer.status_code, answer.json()) == (200, {"words": "pause: done"})
    assert source.commands == [(DAG, "r1", "pause", "user", "a look first")]
    assert user.post(path, json={"what": "pause", "why": ""}, headers=OURS).status_code == 422


def test_what_is_refused_is_refused_in_words(
    app: FastAPI, root_path: str, source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference_rollouts.core.errors import CommandRefused
    from tests.support.console import client

    def refuse(*_: str) -> str:
        raise CommandRefused("It is not paused. Nothing was changed.")

    monkeypatch.setattr(source, "command", refuse)
    answer = client(app, "USER", root_path).post(
        f"/api/rollouts/{DAG}/r1/commands", json={"what": "resume", "why": "done"}, headers=OURS
    )
    assert (answer.status_code, answer.json()["detail"]) == (409, "It is not paused. Nothing was changed.")
