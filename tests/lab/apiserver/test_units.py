"""The pure parts of the API server: fields, merging, patches, selectors, schemas, rules, quantities."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.apiserver.changes import ownership
from lab.apiserver.changes.fields import compare, fields_of, from_fields_v1, to_fields_v1
from lab.apiserver.changes.merge import merge, remove
from lab.apiserver.changes.ownership import Application, Manager
from lab.apiserver.changes.patch import json_patch, merge_patch, strategic_merge_patch
from lab.apiserver.content.jsonpath import find
from lab.apiserver.content.printers import age
from lab.apiserver.errors import ApiError
from lab.apiserver.kinds import cel
from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.kinds.resources import version_rank
from lab.apiserver.storage.selectors import field_selector, label_selector
from lab.apiserver.types.decode import DecodeError, decode, fill_defaults, fill_static_defaults, prune
from lab.apiserver.types.quantity import amount, canonical
from lab.apiserver.types.schema import Parser, Schema, clone
from lab.apiserver.types.validation import validate

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
    application = Application(Manager(who, "Apply", "v1"), config, force=True)
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
    ("selector", "labels", "matches"),
    [
        ("a=1,b!=2", {"a": "1"}, True),
        ("a in (1,2),!c", {"a": "2"}, True),
        ("a notin (1)", {}, True),
        ("a notin (1)", {"a": "1"}, False),
        ("a", {"b": "1"}, False),
        ("a==1", {"a": "1"}, True),
        ("a>3", {"a": "4"}, True),
        ("x.example/a = 1 , b", {"x.example/a": "1", "b": ""}, True),
        ("", {}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], matches: bool) -> None:
    assert label_selector(selector)(labels) is matches


@pytest.mark.parametrize("selector", ["a b", "=", "a in 1", "a=b c", "a>x", "(", "!"])
def test_label_selectors_that_mean_nothing(selector: str) -> None:
    with pytest.raises(ApiError):
        label_selector(selector)


def test_field_selectors() -> None:
    matcher, equal = field_selector("a=1,b!=2", frozenset("ab"))
    assert equal == {"a": "1"}
    assert matcher({"a": "1"})
    assert not matcher({"a": "1", "b": "2"})
    with pytest.raises(ApiError):
        field_selector("c=1", frozenset("ab"))


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


def test_ages() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 10, tzinfo=UTC)
    spans = {
        "2026-01-09T23:59:15Z": "45s",
        "2026-01-09T23:55:30Z": "4m30s",
        "2026-01-09T22:00:00Z": "120m",
        "2026-01-09T18:30:00Z": "5h30m",
        "2026-01-08T12:00:00Z": "36h",
        "2026-01-05T00:00:00Z": "5d",
        "2026-01-10T00:00:05Z": "0s",
    }
    assert {since: age(since, now) for since in spans} == spans


def test_versions_rank_by_maturity() -> None:
    versions = ["v1alpha1", "foo", "v1", "v2beta1", "v2", "v1beta2", "v1beta1"]
    assert sorted(versions, key=version_rank) == [
        "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"
    ]  # fmt: skip


def test_json_paths() -> None:
    document = {"a": {"b": [{"t": "x", "v": 1}, {"t": "y", "v": True}]}, "d.e": 3}
    assert find(".a.b[*].t", document) == ["x", "y"]
    assert find('.a.b[?(@.t=="y")].v', document) == [True]
    assert find("{.a.b[0].v}", document) == [1]
    assert find(r".d\.e", document) == [3]
    assert find(".a.none.b", document) == []


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


@pytest.mark.parametrize(
    ("schema", "value", "reasons"),
    [
        ({"type": "string", "maxLength": 1}, "ab", ["FieldValueTooLong"]),
        ({"type": "string", "pattern": "^a$"}, "a\n", ["FieldValueInvalid"]),
        ({"type": "integer"}, True, ["FieldValueTypeInvalid"]),
        ({"type": "integer"}, 1.0, []),
        ({"type": "number", "exclusiveMinimum": True, "minimum": 0}, 0, ["FieldValueInvalid"]),
        ({"type": "string", "enum": ["a"]}, "b", ["FieldValueNotSupported"]),
        ({"type": "string", "format": "date-time"}, "yesterday", ["FieldValueTypeInvalid"]),
        ({"x-kubernetes-int-or-string": True}, "25%", []),
        ({"x-kubernetes-int-or-string": True}, [], ["FieldValueTypeInvalid"]),
        ({"type": "string", "nullable": True}, None, []),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}, ["a", "a"],
         ["FieldValueDuplicate"]),
        ({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
         {"a": "", "b": ""}, ["FieldValueTooMany"]),
        ({"type": "integer", "oneOf": [{"minimum": 5}, {"maximum": 5}]}, 5, ["FieldValueInvalid"]),
        ({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 3}]}, 4, ["FieldValueInvalid"]),
        ({"type": "integer", "not": {"minimum": 5}}, 6, ["FieldValueInvalid"]),
        ({"type": "integer", "multipleOf": 2}, 3, ["FieldValueInvalid"]),
    ],
)  # fmt: skip
def test_schema_errors(schema: dict[str, Any], value: Any, reasons: list[str]) -> None:
    assert [error.type for error in validate(Parser().parse(schema), value, "x")] == reasons


@pytest.mark.parametrize(
    ("rule", "new", "old", "holds"),
    [
        ("self.a == oldSelf.a", {"a": 1}, {"a": 2}, False),
        ("self.a == oldSelf.a", {"a": 1}, cel.MISSING, True),
        ("self.a.matches('^x+$')", {"a": "xx"}, cel.MISSING, True),
        ("self.missing == 1", {"a": 1}, cel.MISSING, False),
        ("has(self.__namespace__)", {"namespace": "n"}, cel.MISSING, True),
        ("self.a__dash__b == 1", {"a-b": 1}, cel.MISSING, True),
        ("self.a.split(',').size() == 2", {"a": "x,y"}, cel.MISSING, True),
        ("isURL(self.a) && !isIP(self.a)", {"a": "https://x"}, cel.MISSING, True),
        ("quantity(self.a).isLessThan(quantity('1'))", {"a": "500m"}, cel.MISSING, True),
        ("duration(self.a) <= duration('1m')", {"a": "61s"}, cel.MISSING, False),
    ],
)
def test_rules(rule: str, new: Any, old: Any, holds: bool) -> None:
    properties = {name: {"type": "string"} for name in ("namespace", "a-b")}
    schema = Parser().parse(
        {"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule}]}
    )
    assert (cel.check(schema, new, old, "spec") == []) is holds


def test_a_rule_says_where_and_why() -> None:
    rule = {
        "rule": "self.a > 1",
        "messageExpression": "'a is %d'.format([self.a])",
        "fieldPath": ".a",
        "reason": "FieldValueForbidden",
    }
    schema = Parser().parse(
        {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    )
    (error,) = cel.check(schema, {"a": 1}, path="spec")
    assert (error.path, error.type, error.detail) == ("spec.a", "FieldValueForbidden", "a is 1")
    assert cel.check(schema, {"a": 1}, {"a": 1}, "spec") == []
