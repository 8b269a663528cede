"""Kubernetes objects as values."""

from __future__ import annotations

import pytest

from inference_rollouts.core.objects.k8s import event_name


@pytest.mark.parametrize("name", ["llm", "a" * 253, "a." * 126 + "a", "a" * 235 + "-" * 17 + "a"])
def test_an_event_has_a_name_however_long_that_of_its_object_is(name: str) -> None:
    made = event_name(name, "0123456789abcdef")
    assert len(made) <= 253
    assert made.endswith(".0123456789abcdef")
    assert all(part and part[0] != "-" and part[-1] != "-" for part in made.split("."))
