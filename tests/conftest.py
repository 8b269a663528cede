"""What every test relies on. Airflow reads its environment when it is imported, so that comes first."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples

from lab.airflow.settings import settings
from tests.support.stopwatch import RunningLoops

HOME = Path(tempfile.mkdtemp(prefix="inference-rollouts-airflow-"))
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ.update({name: v for name, v in settings(HOME, 0).items() if name.startswith("AIRFLOW_")})
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"

# An example takes as long as the machine lets it.
examples.register_profile("patient", examples(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("patient")

# So does whatever is waited for.
asyncio.set_event_loop_policy(RunningLoops())


@pytest.fixture(scope="session")
def database() -> None:
    """Airflow's tables, in a database of this test session."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a metrics store in memory answers is waited for: no test depends on a quiet machine."""
    monkeypatch.setattr("inference_rollouts.rollout.step_observer.SLOW_STORE", 60.0)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
