"""Quantities have one form."""

from __future__ import annotations

from typing import Any

import pytest

from lab.apiserver.types.quantity import amount, canonical


@pytest.mark.parametrize(
    ("text", "form"),
    [("0.5", "500m"), ("1000m", "1"), ("1.5Gi", "1536Mi"), ("1024Ki", "1Mi"), ("100000", "100k"), (2, "2"),
     (".1", "100m"), ("0", "0"), ("-1", "-1"), ("1e3", "1e3"), ("3n", "3n")],
)  # fmt: skip
def test_quantities(text: Any, form: str) -> None:
    assert canonical(text) == form
    assert amount(canonical(text)) == amount(str(text))


@pytest.mark.parametrize("text", ["", "a", "1x", "1 Gi", "--1", True, None])
def test_what_is_no_quantity(text: Any) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        canonical(text)
