"""Sets of fields, merging and applying, as laws."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.apiserver.changes import ownership
from lab.apiserver.changes.fields import compare, fields_of, from_fields_v1, to_fields_v1
from lab.apiserver.changes.merge import merge, remove
from lab.apiserver.changes.ownership import Application, Manager
from lab.apiserver.types.schema import Parser

ITEM = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
    "required": ["name"],
}

SCHEMA = Parser().parse(
    {
        "type": "object",
        "properties": {
            "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "spec": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "atomic": {"type": "array", "items": {"type": "string"}},
                    "items": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": ITEM,
                    },
                },
            },
        },
    }
)

words = st.sampled_from(["a", "b", "c"])


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Objects of SCHEMA as somebody may apply them."""
    spec: dict[str, Any] = {}
    if draw(st.booleans()):
        spec["text"] = draw(words)
    if draw(st.booleans()):
        spec["labels"] = draw(st.dictionaries(words, words, min_size=1))
    if draw(st.booleans()):
        spec["set"] = draw(st.lists(words, unique=True, min_size=1))
    if draw(st.booleans()):
        spec["atomic"] = draw(st.lists(words, min_size=1))
    names = draw(st.lists(words, unique=True))
    if names:
        spec["items"] = [{"name": name, "value": draw(words)} for name in names]
    return {"spec": spec} if spec else {}


def applied(live: dict[str, Any], config: dict[str, Any], who: str) -> dict[str, Any]:
    """The live object after a forced apply, without the nulls that removals leave."""
    application = Application(Manager(who, "Apply", "v1"), config, empty={}, now="", force=True)
    result = ownership.apply(SCHEMA, live, application)
    kept = {key: value for key, value in result.object.items() if value}
    if "spec" in kept:
        kept["spec"] = {key: value for key, value in kept["spec"].items() if value}
        kept = {key: value for key, value in kept.items() if value}
    return {**kept, "metadata": {"managedFields": result.managers.write()}}


def plain(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "metadata"}


@given(configs())
def test_fields_survive_their_written_form(config: dict[str, Any]) -> None:
    fields = fields_of(SCHEMA, config)
    assert from_fields_v1(json.loads(json.dumps(to_fields_v1(fields)))) == fields


@given(configs(), configs())
def test_what_one_adds_the_other_lacks(one: dict[str, Any], other: dict[str, Any]) -> None:
    there, back = compare(SCHEMA, one, other), compare(SCHEMA, other, one)
    assert (there.added, there.modified, there.removed) == (back.removed, back.modified, back.added)
    assert compare(SCHEMA, one, one) == compare(SCHEMA, {}, {})


@given(configs(), configs())
def test_merging_sets_what_is_asked_and_keeps_the_rest(live: dict[str, Any], config: dict[str, Any]) -> None:
    merged = merge(SCHEMA, live, config)
    assert merge(SCHEMA, merged, config) == merged
    assert fields_of(SCHEMA, live) <= fields_of(SCHEMA, merged) | {("f:spec",)}
    assert not compare(SCHEMA, merge(SCHEMA, merged, config), merged).modified


@settings(max_examples=200)
@given(configs(), configs(), configs())
def test_applying_is_idempotent_and_releases(
    first: dict[str, Any], second: dict[str, Any], other: dict[str, Any]
) -> None:
    alone = applied(applied({}, first, "a"), second, "a")
    assert fields_of(SCHEMA, plain(alone)) - {("f:spec",)} == fields_of(SCHEMA, second) - {("f:spec",)}
    shared = applied(applied({}, first, "a"), other, "b")
    again = applied(shared, other, "b")
    assert again == shared
    assert plain(applied(shared, {}, "a")) == plain(applied({}, other, "b"))


@given(configs())
def test_removing_every_field_leaves_nothing(config: dict[str, Any]) -> None:
    left = remove(SCHEMA, config, fields_of(SCHEMA, config)) or {}
    assert not any((left.get("spec") or {}).values())
