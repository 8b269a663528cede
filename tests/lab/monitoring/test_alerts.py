"""The alert rules, by Prometheus' own tool: each fires when it should, and not before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.monitoring.binary import PrometheusNotFound, find_promtool
from tests.support.plans import INCLUDE, ROOT

RULES = INCLUDE / "monitoring" / "alerts.yaml"
SCENES = ROOT / "tests" / "support" / "alerts_test.yaml"


@pytest.fixture(scope="module")
def promtool() -> Path:
    try:
        return find_promtool()
    except PrometheusNotFound as error:
        pytest.skip(str(error))


def test_each_alert_fires_when_it_should(promtool: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes.yaml"
    scenes.write_text(SCENES.read_text().replace("RULES", str(RULES)))
    done = subprocess.run([promtool, "test", "rules", scenes], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_scene() -> None:
    alerts = [line.split()[-1] for line in RULES.read_text().splitlines() if "- alert: " in line]
    scenes = SCENES.read_text()
    assert len(alerts) >= 6
    assert [alert for alert in alerts if f"alertname: {alert}\n" not in scenes] == []


def test_promtool_comes_with_prometheus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.monitoring.binary.find_prometheus", lambda cache: tmp_path / "prometheus")
    with pytest.raises(PrometheusNotFound, match="no promtool beside"):
        find_promtool()
    (tmp_path / "promtool").touch()
    assert find_promtool() == tmp_path / "promtool"
