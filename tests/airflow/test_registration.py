"""What Airflow finds of the package: one plugin, one listener, and the connection type `prometheus`.

Each case has an interpreter of its own, since Airflow looks once a process. A distribution's metadata on the
path is all that an installed package is to Airflow, so the tests write them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_server import Reply, serving
from tests.support.plans import ROOT

FOUND = """
import importlib, json
from airflow import plugins_manager
from airflow.listeners.listener import get_listener_manager
from airflow.sdk import plugins_manager as in_tasks
from inference_rollouts import listener

plugins, errors = plugins_manager._get_plugins()
print(json.dumps({
    "plugins": [plugin.name for plugin in plugins],
    "in tasks": [plugin.name for plugin in in_tasks._get_plugins()[0]],
    "errors": errors,
    "listeners": list(get_listener_manager().pm.get_plugins()).count(listener),
}))
"""

LISTED = """
import json
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

manager = ProvidersManager()
[ui] = [ui for ui in manager.iter_connection_type_hook_ui_metadata() if ui.connection_type == "prometheus"]
hook = ProvidersManagerTaskRuntime().hooks["prometheus"]
print(json.dumps({
    "name": ui.hook_name,
    "form": ui.field_behaviour,
    "fields": [name for name in manager._connection_form_widgets_from_metadata if "__prometheus__" in name],
    "hook": [hook.hook_class_name, hook.connection_type, hook.hook_name, hook.connection_testable],
}))
"""

TESTED = """
import json
from airflow.models.connection import Connection

print(json.dumps(Connection.get_connection_from_secrets("prometheus_default").test_connection()))
"""


class Asker:
    """What a program prints as JSON on its last line, run beside our package `installed` and in plugins/."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.site = home / "site"
        self.site.mkdir()

    def __call__(
        self, program: str, *, installed: bool = True, in_folder: bool = False, **environment: str
    ) -> Any:
        if installed:
            ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
            distribution(self.site, "inference-rollouts", ours)
        folder = self.home / "plugins"
        folder.mkdir()
        path = [str(self.site), str(ROOT / "plugins")]
        settings = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins" if in_folder else folder),
            "PYTHONPATH": os.pathsep.join(path),
        }
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | settings | environment,
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture
def ask(tmp_path: Path) -> Asker:
    return Asker(tmp_path)


def distribution(site: Path, name: str, pyproject: dict[str, Any]) -> None:
    """What an installer writes about a package that has this pyproject.toml: its name and entry points."""
    info = site / f"{name.replace('-', '_')}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    groups = pyproject["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in of.items()) for group, of in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("installed", "in_folder"), [(False, True), (True, False), (True, True)], ids=["folder", "wheel", "both"]
)
def test_the_plugin_is_there_once_and_its_listener_too(ask: Asker, installed: bool, in_folder: bool) -> None:
    report = ask(FOUND, installed=installed, in_folder=in_folder)
    assert report["plugins"].count("inference_rollouts") == 1
    assert report["errors"] == {}
    assert report["listeners"] == 1


def test_plugins_of_others_are_loaded_in_tasks_beside_ours(ask: Asker) -> None:
    base = "__import__('airflow.plugins_manager').plugins_manager.AirflowPlugin"
    (ask.site / "others.py").write_text(f"class Others({base}):\n    name = 'others'\n")
    others = {"project": {"entry-points": {"airflow.plugins": {"others": "others:Others"}}}}
    distribution(ask.site, "zz-others", others)
    assert {"inference_rollouts", "others"} <= set(ask(FOUND, in_folder=True)["in tasks"])


def test_the_connection_type_is_listed_with_its_form(ask: Asker) -> None:
    listed = ask(LISTED)
    assert listed["name"] == "Prometheus"
    assert listed["form"]["relabeling"] == {"schema": "Scheme", "password": "Bearer token"}
    assert listed["fields"] == ["extra__prometheus__path", "extra__prometheus__workload_identity"]
    hook = "inference_rollouts.hooks.prometheus.PrometheusHook"
    assert listed["hook"] == [hook, "prometheus", "Prometheus", True]


def trial(ask: Asker, answer: Reply) -> tuple[Any, str]:
    """What the form's Test says of a server that answers so, and which token that got."""
    seen = []

    def answered(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        seen.append((request.path, request.headers["Authorization"]))
        return answer

    with serving(answered) as url:
        connection = {"conn_type": "prometheus", "host": url, "password": "secret", "extra": {"path": "/p"}}
        outcome = ask(TESTED, AIRFLOW_CONN_PROMETHEUS_DEFAULT=json.dumps(connection))
    assert seen == [("/p/api/v1/query", "Bearer secret")]
    return outcome, url


def test_a_server_that_answers_passes_the_test(ask: Asker) -> None:
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [7, "1"]}]}
    vector = json.dumps({"status": "success", "data": data}).encode()
    outcome, url = trial(ask, (200, "application/json", vector))
    assert outcome == [True, f"Prometheus at {url}/p answers queries."]


def test_a_server_that_does_not_know_the_token_fails_the_test(ask: Asker) -> None:
    outcome, url = trial(ask, (401, "text/html", b"<html>"))
    wanted = f"Prometheus at {url}/p answered 401: Unauthorized. It gets the password of connection"
    assert outcome == [False, f"{wanted} prometheus_default as bearer token."]


def test_a_server_that_is_down_fails_the_test(ask: Asker) -> None:
    with serving(lambda *_: (200, "text/plain", b"")) as url:
        connection = json.dumps({"conn_type": "prometheus", "host": url})
    passed, message = ask(TESTED, AIRFLOW_CONN_PROMETHEUS_DEFAULT=connection)
    assert not passed
    assert message.startswith(f"Prometheus at {url} does not answer: ")
