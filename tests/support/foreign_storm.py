"""Another cluster's pods of the same names in the same store, of which the canary's fail."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.judging.metrics import SERIES
from tests.support.fake_prometheus import FakePrometheus


def storm_elsewhere(monkeypatch: pytest.MonkeyPatch, store: FakePrometheus, canary: str) -> None:
    """All that is asked of the other cluster's canary is answered 5xx."""
    theirs = store._theirs

    def failing(sample: dict[str, Any]) -> dict[str, Any]:
        labels = sample["metric"]
        if labels.get("inference_pool") == canary and labels.get(SERIES, "").startswith("errors/bad"):
            sample = {**sample, "value": [sample["value"][0], str(int(store.served.get(labels["pod"], 0.0)))]}
        return theirs(sample)

    store.also = "theirs-"
    monkeypatch.setattr(store, "_theirs", failing)
