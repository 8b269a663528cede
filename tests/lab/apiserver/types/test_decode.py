"""Values take the form that their types or schemas give them."""

from __future__ import annotations

import pytest

from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.types.decode import DecodeError, decode, fill_defaults, fill_static_defaults, prune
from lab.apiserver.types.schema import Parser


def test_built_in_objects_take_the_form_of_their_types() -> None:
    unknown: list[str] = []
    spec = types_parser().ref("PodSpec")
    sent = {
        "containers": [{"name": "a", "image": "i", "args": [], "odd": 1}],
        "nodeName": "",
        "hostNetwork": False,
    }
    seen = decode(spec, sent, "spec", unknown)
    fill_static_defaults(spec, seen)
    assert unknown == ["spec.containers[0].odd"]
    assert "args" not in seen["containers"][0]
    assert "nodeName" not in seen
    assert "hostNetwork" not in seen
    assert seen["containers"][0]["resources"] == {}
    assert seen["restartPolicy"] == "Always"
    with pytest.raises(DecodeError):
        decode(spec, {"containers": {}}, "spec", unknown)


def test_custom_objects_are_pruned_and_filled() -> None:
    schema = Parser().parse(
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "default": 1},
                "n": {"type": "string", "nullable": True, "default": "x"},
                "o": {"type": "object", "properties": {"b": {"type": "string", "default": "y"}}},
                "l": {"type": "array", "items": {"type": "object",
                      "properties": {"c": {"default": 2, "type": "integer"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                         "properties": {"shut": {"type": "object"}}},
            },
        }
    )  # fmt: skip
    value = {"a": None, "n": None, "o": {}, "l": [{}, {"x": 1}], "free": {"x": 1, "shut": {"y": 1}}, "z": 1}
    unknown: list[str] = []
    prune(schema, value, "", unknown)
    fill_defaults(schema, value)
    assert unknown == ["l[1].x", "free.shut.y", "z"]
    assert value == {
        "a": 1,
        "n": None,
        "o": {"b": "y"},
        "l": [{"c": 2}, {"c": 2}],
        "free": {"x": 1, "shut": {}},
    }
