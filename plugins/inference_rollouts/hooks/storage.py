"""Airflow's object storage: files that a plan names by URL, and what a run leaves there."""

from __future__ import annotations

import json
import logging
from typing import Any

from inference_rollouts.core.errors import PlanInvalid

log = logging.getLogger(__name__)


class ObjectStorage:
    """A Storage of whatever Airflow has a connection or a provider for."""

    def read_json(self, url: str) -> dict[str, Any]:
        # Imported on use: this module is imported whenever Airflow parses the DAGs.
        from airflow.sdk import ObjectStoragePath

        try:
            value = json.loads(ObjectStoragePath(url).read_text())
        except (OSError, ValueError, ImportError) as error:
            raise PlanInvalid(f"{url} cannot be read: {type(error).__name__}: {error}") from error
        if not isinstance(value, dict):
            raise PlanInvalid(f"{url} holds no JSON object.")
        return value

    def write(self, folder: str, name: str, text: str) -> None:
        try:
            from airflow.sdk import ObjectStoragePath

            path = ObjectStoragePath(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            log.info("written: %s", path)
        except Exception as error:
            log.warning("could not write %s to %s: %s", name, folder, error)
