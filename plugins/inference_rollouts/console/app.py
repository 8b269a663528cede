"""The routes of the console: pages, and what they show. Everything is JSON but the bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from inference_rollouts.console.access import User, edited_by, may, own_page, seen_by
from inference_rollouts.console.protocols import Source
from inference_rollouts.core.errors import DecisionRecordBroken, PassingError, RolloutError
from inference_rollouts.core.judging.policy import Chance
from inference_rollouts.core.routing.claim import LONGEST_WHY

PREFIX = "/inference-rollouts"
STOPPING = "rollout_control"  # the DAG with which all rollouts are stopped, and go on, or one is undone
LATEST = 2.0**33  # a time (Unix seconds) after all that is asked for
BUNDLE = Path(__file__).parent / "bundle"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Given(BaseModel):
    """A command, and why: it stands on the claim, in Events and in the report."""

    model_config = ConfigDict(extra="forbid")

    what: Annotated[str, Field(max_length=32)]
    why: Annotated[str, Field(min_length=1, max_length=LONGEST_WHY)]


def create_app(source: Source) -> FastAPI:
    """The app, which Airflow mounts under PREFIX.

    It describes itself nowhere: routes that FastAPI adds for that would ask nobody who they are.
    """
    app = FastAPI(
        title="Rollouts",
        dependencies=[Depends(get_user), Depends(own_page)],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.middleware("http")(_with_headers)
    _add_pages(app)
    _add_lists(app, source)
    _add_rollouts(app, source)
    return app


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def _add_pages(app: FastAPI) -> None:
    files = {path.name: path.read_bytes() for path in sorted(BUNDLE.iterdir()) if path.suffix in KINDS}
    tags = {name: f'"{hashlib.sha256(body).hexdigest()[:32]}"' for name, body in files.items()}

    def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        headers = {"ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(files[name], media_type=KINDS[Path(name).suffix], headers=headers)

    @app.get("/")
    def page(request: Request) -> Response:
        return file("index.html", request)

    @app.get("/{name}")
    def bundle(name: str, request: Request) -> Response:
        return file(name, request)


def _add_lists(app: FastAPI, source: Source) -> None:
    @app.get("/api/rollouts")
    def rollouts(user: User) -> Response:
        """All rollouts, their history and plans, of the DAGs that the user may see."""
        seen, edited, everything = seen_by(user), edited_by(user), source.overview()
        lists: dict[str, Any] = {
            name: [
                {**each, "may_edit": each["dag"] in edited}
                for each in everything[name]
                if each["dag"] in seen
            ]
            for name in ("rollouts", "history", "plans")
        }
        lists["stops"] = [
            {key: value for key, value in each.items() if key != "dags"}
            for each in everything["stops"]
            if any(dag in seen for dag in each["dags"])
        ]
        may_stop = STOPPING in edited
        return JSONResponse({**everything, **lists, "user": user.get_name(), "may_stop": may_stop})

    @app.get("/api/history")
    def history(user: User, before: Annotated[float, Query(ge=0, le=LATEST)]) -> Response:
        """What ended before a time (Unix seconds), of the DAGs that the user may see: a page of it."""
        seen, page = seen_by(user), source.history(before)
        return JSONResponse({**page, "history": [each for each in page["history"] if each["dag"] in seen]})


def _add_rollouts(app: FastAPI, source: Source) -> None:
    @app.get("/api/rollouts/{dag_id}/{run_id}", dependencies=[may("GET")])
    def rollout(dag_id: str, run_id: str, user: User) -> Response:
        edited = edited_by(user)
        return _json(source.one(dag_id, run_id), may_edit=dag_id in edited, may_control=STOPPING in edited)

    @app.get("/api/rollouts/{dag_id}/{run_id}/series", dependencies=[may("GET")])
    def series(dag_id: str, run_id: str) -> Response:
        return _json(source.series(dag_id, run_id))

    @app.get("/api/rollouts/{dag_id}/{run_id}/rejudged", dependencies=[may("GET")])
    def rejudged(dag_id: str, run_id: str, alpha: Chance) -> Response:
        try:
            return _json(source.rejudged(dag_id, run_id, alpha))
        except DecisionRecordBroken as error:
            return JSONResponse({"detail": str(error)}, status.HTTP_409_CONFLICT)

    @app.post("/api/rollouts/{dag_id}/{run_id}/commands", dependencies=[may("PUT")])
    def command(dag_id: str, run_id: str, given: Given, user: User) -> Response:
        """Commands in the user's name. What makes no sense is refused in words, and changes nothing."""
        try:
            words = source.command(dag_id, run_id, given.what, user.get_name(), given.why)
        except RolloutError as error:
            return JSONResponse({"detail": str(error)}, status.HTTP_409_CONFLICT)
        except PassingError as error:
            return JSONResponse({"detail": str(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)
        return JSONResponse({"words": words})

    @app.get("/api/plans/{dag_id}", dependencies=[may("GET")])
    def plan(dag_id: str, user: User) -> Response:
        return _json(source.plan(dag_id), may_edit=dag_id in edited_by(user))


def _json(value: dict[str, Any] | None, **more: Any) -> Response:
    if value is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such rollout.")
    return JSONResponse({**value, **more})
