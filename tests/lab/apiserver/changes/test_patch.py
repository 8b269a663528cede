"""JSON, merge and strategic patches on plain values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lab.apiserver.changes.patch import json_patch, merge_patch, strategic_merge_patch
from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.types.schema import Schema, clone

words = st.sampled_from(["a", "b", "c"])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, json_values), st.dictionaries(words, json_values))
def test_patches_do_not_touch_their_inputs(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before, asked = clone(target), clone(patch)
    merge_patch(target, patch)
    strategic_merge_patch(Schema({}, preserve=True), target, patch)
    json_patch(target, [{"op": "add", "path": "/x", "value": patch}])
    assert (target, patch) == (before, asked)


@given(st.dictionaries(words, json_values))
def test_a_merge_patch_without_nulls_is_a_fixed_point(patch: dict[str, Any]) -> None:
    once = merge_patch({}, patch)
    assert merge_patch(once, once) == once


def test_strategic_merge_orders_and_deletes() -> None:
    container = types_parser().ref("Container")
    target = {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "args": ["x"]}
    patch = {
        "env": [{"name": "c", "value": "3"}, {"name": "a", "$patch": "delete"}],
        "$setElementOrder/env": [{"name": "c"}, {"name": "b"}],
        "args": ["y"],
    }
    assert strategic_merge_patch(container, target, patch) == {
        "env": [{"name": "c", "value": "3"}, {"name": "b", "value": "2"}],
        "args": ["y"],
    }
    metadata = types_parser().ref("ObjectMeta")
    gone = {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}
    assert strategic_merge_patch(metadata, {"finalizers": ["a", "b"]}, gone) == {"finalizers": ["b", "c"]}
