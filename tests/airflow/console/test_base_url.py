"""Airflow's own server under a path, `[api] base_url`: the console is where its pages and its links say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.plans import ROOT

pytestmark = pytest.mark.usefixtures("database")

ASKED = """
import json
from airflow.api_fastapi.app import create_app
from fastapi.testclient import TestClient
from tests.support.console import token

app = create_app(apps="core")

def ask(path, role="VIEWER"):
    cookies = {"_token": token(role)} if role else {}
    return TestClient(app, base_url="http://airflow", cookies=cookies).get(path).status_code

under = "/team/airflow/inference-rollouts"
paths = ("/", "/console.js", "/api/rollouts", "/api/history?before=1", "/api/rollouts/no_dag/r1")
print(json.dumps({
    "a viewer": [ask(under + path) for path in paths],
    "nobody": [ask(under + path, None) for path in paths],
}))
"""


def test_the_console_is_under_the_path_of_airflows_base_url_and_asks_who_somebody_is() -> None:
    settings = {
        "AIRFLOW__API__BASE_URL": "http://airflow/team/airflow/",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")]),
    }
    ended = subprocess.run(
        [sys.executable, "-c", ASKED], env=os.environ | settings, cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == {"a viewer": [200, 200, 200, 200, 404], "nobody": [401] * 5}
