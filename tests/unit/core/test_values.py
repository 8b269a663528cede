"""Records of plain values: made often, and checked where they are read."""

from __future__ import annotations

import gc
import json
import math
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from inference_rollouts.core.values import Finite, Plain, Value


class Part(Plain, frozen=True):
    name: str
    count: int
    shares: tuple[Finite, ...] = ()
    worst: Finite | None = None


class Whole(Value):
    parts: tuple[Part, ...]


PART = Part(name="a", count=1, shares=(0.5, 1.0))


def test_a_part_is_read_as_it_was_written() -> None:
    whole = Whole(parts=(PART, Part(name="b", count=2)))
    written = json.loads(json.dumps(whole.to_json(), allow_nan=False))
    assert written["parts"][0] == {"name": "a", "count": 1, "shares": [0.5, 1.0], "worst": None}
    assert Whole.from_json(written) == whole


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 1},
        {"count": "1"},
        {"count": 1.5},
        {"count": True},
        {"shares": [math.nan]},
        {"shares": [0.5, math.inf]},
        {"worst": -math.inf},
        {"other": 1},
        {"count": None},
    ],
    ids=str,
)
def test_what_is_no_part_is_refused_where_it_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="parts"):
        Whole.from_json({"parts": [msgspec.to_builtins(PART) | wrong]})


def test_it_never_changes_and_garbage_collection_does_not_look_at_it() -> None:
    with pytest.raises(AttributeError):
        PART.count = 2  # type: ignore[misc]
    assert not gc.is_tracked(PART)
