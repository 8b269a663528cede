"""What weighted lists say at a given share, however their kind of object spells them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.routing.weights import (
    MAX_WEIGHT,
    SPELLINGS,
    at_percent,
    carrying,
    describe,
    factor_for,
    weights_of,
)

ROUTE, REWRITE = SPELLINGS["HTTPRoute"], SPELLINGS["InferenceModelRewrite"]


def listed(spelling: Any, **weights: Any) -> Any:
    return [
        {spelling.name: name} if weight is None else {spelling.name: name, "weight": weight}
        for name, weight in weights.items()
    ]


@pytest.mark.parametrize(
    ("spelling", "found", "percent", "then"),
    [
        (ROUTE, {"old": None}, 0, {"old": None, "new": 0}),
        (ROUTE, {"old": None}, 5, {"old": 95, "new": 5}),
        (ROUTE, {"old": 7}, 100, {"old": 0, "new": 100}),
        (ROUTE, {"idle": 0, "old": 100, "new": 0}, 30, {"idle": 0, "old": 70, "new": 30}),
        (ROUTE, {"old": 60, "other": 40}, 0, {"old": 60, "other": 40, "new": 0}),
        (ROUTE, {"old": 60, "other": 40}, 25, {"old": 225, "other": 200, "new": 75}),
        (ROUTE, {"old": None, "other": None}, 1, {"old": 99, "other": 100, "new": 1}),
        (ROUTE, {"old": None, "other": None}, 100, {"old": 0, "other": 100, "new": 100}),
        (REWRITE, {"old": None}, 0, {"old": None}),
        (REWRITE, {"old": None}, 5, {"old": 95, "new": 5}),
        (REWRITE, {"old": 100}, 100, {"new": 100}),
        (REWRITE, {"old": None, "other": None}, 50, {"old": 50, "other": 100, "new": 50}),
        (REWRITE, {"old": 10, "never": None}, 50, {"old": 50, "never": None, "new": 50}),
        (REWRITE, {"old": 10, "x": 30, "y": None}, 50, {"old": 50, "x": 300, "y": None, "new": 50}),
    ],
)  # fmt: skip
def test_a_list_at_a_share(spelling: Any, found: dict[str, Any], percent: int, then: dict[str, Any]) -> None:
    assert at_percent(listed(spelling, **found), "old", "new", percent, spelling) == listed(spelling, **then)


def test_a_new_entry_is_the_stable_one_but_for_its_name() -> None:
    old = {"group": "g", "kind": "InferencePool", "name": "old", "namespace": "ns", "weight": 3, "port": 8000}
    old["filters"] = [{"type": "URLRewrite"}, {"type": "RequestHeaderModifier"}]
    new = at_percent([old], "old", "new", 5, ROUTE)[1]
    assert new == old | {"name": "new", "weight": 5}


def test_unweighted_targets_beside_weighted_ones_carry_nothing() -> None:
    mixed = listed(REWRITE, a=1, b=None)
    assert (weights_of(mixed, REWRITE), carrying(mixed, REWRITE)) == ([1, 0], ["a"])
    assert carrying(listed(REWRITE, a=None, b=None), REWRITE) == ["a", "b"]
    assert describe(mixed, REWRITE) == "a 1, b 0"


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("name", ["old", "other"])
def test_of_an_entry_that_is_listed_twice_the_idle_one_gets_nothing(name: str, place: int) -> None:
    found = listed(ROUTE, old=60, other=40)
    found.insert(place, {"name": name, "weight": 0})
    then = at_percent(found, "old", "new", 25, ROUTE)
    assert then[place] == {"name": name, "weight": 0}
    assert [each for each in then if each["weight"]] == listed(ROUTE, old=225, other=200, new=75)


@given(
    weights=st.lists(st.integers(0, 5000), min_size=0, max_size=6),
    stable=st.integers(1, 5000),
    percent=st.integers(1, 100),
    spelling=st.sampled_from([ROUTE, REWRITE]),
)
def test_only_stable_and_canary_change_their_shares(
    weights: Any, stable: Any, percent: int, spelling: Any
) -> None:
    others = {f"p{i}": weight for i, weight in enumerate(weights) if weight or spelling.zero}
    backends = listed(spelling, **others, old=stable)
    assert max(weights_of(backends, spelling)) * factor_for(backends, "old", spelling) <= MAX_WEIGHT
    then = at_percent(backends, "old", "new", percent, spelling)

    def shares(entries: Any) -> Any:
        total = sum(weights_of(entries, spelling))
        return {
            entry[spelling.name]: Fraction(weight, total)
            for entry, weight in zip(entries, weights_of(entries, spelling), strict=True)
        }

    before, after = shares(backends), shares(then)
    assert after["new"] == before["old"] * percent / 100
    assert after.get("old", 0) == before["old"] * (100 - percent) / 100
    assert all(after[name] == before[name] for name in others)
    assert spelling.zero or all(entry["weight"] > 0 for entry in then)
