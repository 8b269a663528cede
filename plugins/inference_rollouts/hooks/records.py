"""Decision records in object storage, one file of JSON lines a step."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from inference_rollouts.core.frozen import Frozen

log = logging.getLogger(__name__)


def store(frozen: Frozen, step: int, lines: Sequence[str]) -> None:
    """Write a step's record where the plan says, if it does. A failure is logged: the XCom has a copy."""
    base = frozen.plan.records
    if base is None:
        return
    try:
        from airflow.sdk import ObjectStoragePath

        path = ObjectStoragePath(base) / frozen.run.replace(":", "") / f"step_{step}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        log.info("decision record written to %s", path)
    except Exception as error:
        log.warning("could not write the decision record of step %d to %s: %s", step, base, error)
