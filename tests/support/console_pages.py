"""The console in a browser: its app with rollouts in every state, and the script that looks at its pages.

`python -m tests.support.console_pages [FOLDER]` takes a picture of each page and state into a folder; with
`--readme` before it, the two of the README.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.plans import ROOT

CONSOLE = ROOT / "console"
SCRIPT = CONSOLE / "tests" / "pages.mjs"


def tools() -> str:
    """What is missing to look at pages; empty if nothing is."""
    if not shutil.which("node"):
        return "Node.js is not installed"
    if not browser():
        return "no Chromium is installed"
    if not (CONSOLE / "node_modules" / "playwright-core").is_dir():
        return "console/node_modules is missing: `npm ci` in console/"
    return ""


def browser() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class _Every(frozenset[str]):
    """A set that has everything."""

    def __contains__(self, each: object) -> bool:
        return True


def everybody_sees_all(patch: pytest.MonkeyPatch) -> None:
    """Airflow's database has none of the DAGs that are shown: who is known may see and edit them."""
    from airflow.api_fastapi.app import get_auth_manager

    patch.setattr(get_auth_manager(), "get_authorized_dag_ids", lambda user, method: _Every())


@contextmanager
def served() -> Iterator[tuple[str, str]]:
    """The address of consoles `/busy`, `/stopped`, `/empty`, `/many`; the token of somebody who may act."""
    import uvicorn
    from fastapi import FastAPI

    from lab.host.addresses import free_port
    from tests.support.console import mounted, token
    from tests.support.console_states import busy, empty, many, stopped

    root = FastAPI()
    for source in (busy, stopped, empty, many):
        root.mount(f"/{source.__name__}", mounted(source()))
    patch = pytest.MonkeyPatch()
    everybody_sees_all(patch)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(root, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the console did not start")
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}", token("ADMIN")
    finally:
        patch.undo()
        server.should_exit = True
        thread.join(10)


def look(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script against these consoles; what it found stands in its output."""
    with served() as (url, token):
        environment = os.environ | {"CONSOLE": url, "TOKEN": token, "CHROMIUM": browser() or ""}
        return subprocess.run(
            ["node", str(SCRIPT), *arguments],
            env=environment,
            cwd=CONSOLE,
            capture_output=True,
            text=True,
            timeout=540,
        )


def main() -> int:
    """The exit status. Airflow reads its environment when it is imported, so that comes first."""
    import tempfile

    from lab.airflow.settings import settings

    *options, folder = sys.argv[1:] or [".screenshots"]
    if missing := tools():
        print(missing, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as home:
        own = {name: value for name, value in settings(Path(home), 0).items() if name.startswith("AIRFLOW_")}
        os.environ.update(own | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"})
        from airflow.utils.db import initdb

        initdb()
        done = look(*(options or ["--screenshots"]), str(Path(folder).resolve()))
    print(done.stdout, done.stderr, sep="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
