"""JSON, merge and strategic patches on plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.apiserver.changes.patch import PatchFailed, json_patch, merge_patch, strategic_merge_patch
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


@pytest.mark.parametrize(
    ("there", "tested", "holds"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, "1", False),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (0, None, False),
        ({"x": [1, {"y": 2}]}, {"x": [1, {"y": 2}]}, True),
        ({"x": 1, "y": 2}, {"x": 1}, False),
        ([1, 2], [2, 1], False),
    ],
)
def test_a_test_compares_values_as_they_are_written(there: Any, tested: Any, holds: bool) -> None:
    operations = [{"op": "test", "path": "/a", "value": tested}]
    if holds:
        assert json_patch({"a": there}, operations) == {"a": there}
    else:
        with pytest.raises(PatchFailed):
            json_patch({"a": there}, operations)


def test_what_is_absent_tests_as_null() -> None:
    assert json_patch({}, [{"op": "test", "path": "/a", "value": None}, {"op": "test", "path": "/a"}]) == {}


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/l/-1", "value": 9}, {"l": [1, 2, 9]}),
        ({"op": "add", "path": "/l/0", "value": 9}, {"l": [9, 1, 2]}),
        ({"op": "replace", "path": "/l/-1", "value": 9}, {"l": [1, 9]}),
        ({"op": "remove", "path": "/l/-2"}, {"l": [2]}),
        ({"op": "replace", "path": "/new", "value": 9}, {"l": [1, 2], "new": 9}),
        ({"op": "add", "path": "/new"}, {"l": [1, 2], "new": None}),
        ({"op": "add", "path": "any/new", "value": 9}, {"l": [1, 2], "new": 9}),
        ({"op": "replace", "path": "", "value": {"x": 1}}, {"x": 1}),
        ({"op": "replace", "path": "", "value": 7}, {"l": [1, 2]}),
        ({"op": "copy", "from": "/l/1", "path": "/l/-"}, {"l": [1, 2, 2]}),
        ({"op": "move", "from": "/l", "path": "/a~1b"}, {"a/b": [1, 2]}),
        ({"op": "add", "path": "/l/4", "value": 9}, None),
        ({"op": "replace", "path": "/l/2", "value": 9}, None),
        ({"op": "add", "path": "/l/x", "value": 9}, None),
        ({"op": "add", "path": "/no/x", "value": 9}, None),
        ({"op": "remove", "path": "/no"}, None),
        ({"op": "move", "from": "/no", "path": "/a"}, None),
        ({"op": "add", "value": 9}, None),
        ({"op": "jump", "path": "/l"}, None),
    ],
)
def test_json_patches_read_as_kubernetes_reads_them(operation: Any, result: Any) -> None:
    if result is not None:
        assert json_patch({"l": [1, 2]}, [operation]) == result
    else:
        with pytest.raises(PatchFailed):
            json_patch({"l": [1, 2]}, [operation])
