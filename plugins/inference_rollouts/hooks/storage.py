"""What a run leaves in object storage: decision records (JSON lines, a file a step), report and chart."""

from __future__ import annotations

import logging

from inference_rollouts.core.run.frozen import Frozen

log = logging.getLogger(__name__)


def store(frozen: Frozen, name: str, text: str) -> None:
    """Write a file of this run where the plan says, if it does. A failure is logged: XComs have a copy."""
    base = frozen.plan.records
    if base is None:
        return
    try:
        from airflow.sdk import ObjectStoragePath

        path = ObjectStoragePath(base) / frozen.run.replace(":", "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        log.info("written: %s", path)
    except Exception as error:
        log.warning("could not write %s to %s: %s", name, base, error)
