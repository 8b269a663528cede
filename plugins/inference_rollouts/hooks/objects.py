"""Files that a plan names by a URL of Airflow's object storage."""

from __future__ import annotations

import json
from typing import Any

from inference_rollouts.core.errors import PlanInvalid


def read_json(url: str) -> dict[str, Any]:
    """A JSON object. Raises PlanInvalid, naming the URL, when there is none to be read."""
    # Imported on use: this module is imported whenever Airflow parses the DAGs.
    from airflow.sdk import ObjectStoragePath

    try:
        value = json.loads(ObjectStoragePath(url).read_text())
    except (OSError, ValueError, ImportError) as error:
        raise PlanInvalid(f"{url} cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise PlanInvalid(f"{url} holds no JSON object.")
    return value
