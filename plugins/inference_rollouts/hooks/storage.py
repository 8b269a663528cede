"""Airflow's object storage: files that a plan names by URL, and what a run leaves there.

The libraries under it have no limit in total. Here each file has one, and what hangs is left to itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from inference_rollouts.clients import bodies
from inference_rollouts.clients.awaiting import within
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.limits import STORAGE_TIMEOUT, STORED_BYTES

log = logging.getLogger(__name__)


class ObjectStorage:
    """A Storage of whatever Airflow has a connection or a provider for. `timeout`: seconds for one file."""

    def __init__(self, timeout: float = STORAGE_TIMEOUT) -> None:
        self._timeout = timeout

    def read_json(self, url: str) -> dict[str, Any]:
        try:
            value = bodies.parse(within(self._timeout, lambda: _read(url)))
        except Exception as error:
            words = bodies.words_of(error, self._timeout)
            raise PlanInvalid(f"{url} cannot be read: {type(error).__name__}: {words}") from error
        if not isinstance(value, dict):
            raise PlanInvalid(f"{url} holds no JSON object.")
        return value

    def write(self, folder: str, name: str, parts: Iterable[str]) -> None:
        try:
            log.info("written: %s", within(self._timeout, lambda: _write(folder, name, parts)))
        except Exception as error:
            words = bodies.words_of(error, self._timeout)
            log.warning("could not write %s to %s: %s", name, folder, words)


def _read(url: str) -> bytes:
    # Imported on use: this module is imported whenever Airflow parses the DAGs.
    from airflow.sdk import ObjectStoragePath

    path: Any = ObjectStoragePath(url)
    with path.open("rb") as file:
        data: bytes = file.read(STORED_BYTES + 1)
    if len(data) > STORED_BYTES:
        raise bodies.BodyTooLarge(f"it is larger than {STORED_BYTES} bytes")
    return data


def _write(folder: str, name: str, parts: Iterable[str]) -> str:
    from airflow.sdk import ObjectStoragePath

    path: Any = ObjectStoragePath(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(parts)
    return str(path)
