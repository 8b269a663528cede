"""Secrets that a command is given in files, lest they stand in a list of processes."""

from __future__ import annotations

from pathlib import Path

from inference_rollouts.core.errors import PlanInvalid


def text_of(file: Path | None) -> str:
    """What a file holds, without the space around it; nothing without a file.

    Raises PlanInvalid where it cannot be read.
    """
    try:
        return file.read_text().strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise PlanInvalid(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
