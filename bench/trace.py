"""Recorded arrivals: how many requests a production service got, window by window.

The trace is a CSV with a column TIMESTAMP, as the Azure LLM inference trace 2023 has it (CC BY 4.0; Patel et
al., Splitwise, ISCA 2024); set TRACE to its path.
"""

from __future__ import annotations

import csv
from datetime import datetime
from pathlib import Path

import numpy as np

from bench.traffic import SECONDS, Array


def arrivals(path: Path) -> Array:
    """Requests in each window. Raises OSError, KeyError or ValueError when the file is not such a trace."""
    with path.open() as file:
        at = np.array(
            [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader(file)]
        )
    windows = ((at - at.min()) / SECONDS).astype(np.int64)
    return np.bincount(windows).astype(float)
