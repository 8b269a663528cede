"""Sets of fields, and what two objects have in common, field by field.

A field is a path: a tuple of elements as `managedFields` writes them, `f:NAME`, `k:{KEYS}`, `v:SCALAR`.
A set of fields is a frozenset of paths. Walks follow a Schema: atomic maps and lists are one field,
lists with keys and sets have their items as fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.apiserver.types.schema import ANY, UNSET, Object, Schema

Path = tuple[str, ...]
FieldSet = frozenset[Path]
EMPTY: FieldSet = frozenset()


class TypeMismatch(ValueError):
    """An object does not fit its schema."""


def to_fields_v1(fields: Iterable[Path]) -> Object:
    """A set of fields as `fieldsV1`."""
    root: Object = {}
    members = sorted(fields)
    for path in members:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    _drop_lonely_dots(root)
    return root


def _drop_lonely_dots(node: Object) -> None:
    for child in node.values():
        if child.keys() == {"."}:
            child.clear()
        elif child:
            _drop_lonely_dots(child)


def from_fields_v1(document: Object) -> FieldSet:
    """The set that `fieldsV1` stands for."""
    paths: list[Path] = []
    _collect(document, (), paths)
    return frozenset(paths)


def _collect(node: Object, path: Path, found: list[Path]) -> None:
    for element, child in node.items():
        if element == ".":
            found.append(path)
        elif child:
            _collect(child, (*path, element), found)
        else:
            found.append((*path, element))


def printed(path: Path) -> str:
    """A field as messages name it: `.spec.containers[name="a"].image`."""
    out = ""
    for element in path:
        sort, text = element[0], element[2:]
        if sort == "f":
            out += f".{text}"
        elif sort == "k":
            keys = json.loads(text)
            out += "[" + ",".join(f"{key}={json.dumps(keys[key])}" for key in sorted(keys)) + "]"
        else:
            out += f"[{'=' if sort == 'v' else ''}{text}]"
    return out


def item_element(schema: Schema, item: Any, path: Path = ()) -> str:
    """The path element of an item of a set or a list with keys. Raises TypeMismatch."""
    if schema.list_type == "set":
        return f"v:{json.dumps(item, separators=(',', ':'))}"
    if not isinstance(item, dict):
        raise TypeMismatch(f"{printed(path)}: expected map, got {item!r}")
    keys = {}
    for key in schema.list_keys:
        child = schema.items.properties.get(key) if schema.items else None
        value = item.get(key)
        if value is None and child is not None and child.default is not UNSET:
            value = child.default
        if value is not None:
            keys[key] = value
    if not keys:
        raise TypeMismatch(
            f"{printed(path)}: associative list with keys has an element that omits all key fields "
            f"{json.dumps(sorted(schema.list_keys))} (and doesn't have default values for any key fields)"
        )
    return f"k:{json.dumps(keys, separators=(',', ':'), sort_keys=True)}"


def is_keyed(schema: Schema) -> bool:
    return schema.list_type != "atomic"


def child_schema(schema: Schema, key: str, path: Path = ()) -> Schema:
    """The schema under a key. Raises TypeMismatch where the schema has no such field."""
    child = schema.child(key)
    if child is not None:
        return child
    if schema.preserve or not schema.type:
        return ANY
    raise TypeMismatch(f"{printed((*path, f'f:{key}'))}: field not declared in schema")


def items_by_element(schema: Schema, items: list[Any], path: Path) -> dict[str, Any]:
    """The items of a set or a list with keys, by path element. Raises TypeMismatch for duplicates."""
    out: dict[str, Any] = {}
    for item in items:
        element = item_element(schema, item, path)
        if element in out:
            raise TypeMismatch(f"{printed(path)}: duplicate entries for key {printed((element,))}")
        out[element] = item
    return out


def fields_of(schema: Schema, value: Any) -> FieldSet:
    """Every field that a configuration sets. Raises TypeMismatch."""
    paths: list[Path] = []
    _walk_fields(schema, value, (), paths)
    return frozenset(paths)


def _walk_fields(schema: Schema, value: Any, path: Path, found: list[Path]) -> None:
    if isinstance(value, dict) and not schema.atomic:
        for key, item in value.items():
            child = child_schema(schema, key, path)
            below = (*path, f"f:{key}")
            _check_type(child, item, below)
            _walk_fields(child, item, below, found)
            if item is None or item == {} or key not in schema.properties:
                found.append(below)
    elif isinstance(value, list) and is_keyed(schema):
        assert schema.items is not None
        for element, item in items_by_element(schema, value, path).items():
            _walk_fields(schema.items, item, (*path, element), found)
            found.append((*path, element))
    elif path:
        found.append(path)


def with_named_parents(schema: Schema, fields: FieldSet) -> FieldSet:
    """The fields, and every named field that holds one of them (a map's keys and list items are no names)."""
    parents = set()
    for path in fields:
        node: Schema | None = schema
        for depth, element in enumerate(path[:-1], 1):
            if node is None:
                break
            if element.startswith("f:"):
                if element[2:] in node.properties:
                    parents.add(path[:depth])
                node = node.child(element[2:])
            else:
                node = node.items
    return fields | parents


def _check_type(schema: Schema, value: Any, path: Path) -> None:
    wanted = {"object": dict, "array": list, "string": str, "boolean": bool}.get(schema.type)
    if wanted is None or value is None or schema.int_or_string or schema.preserve:
        return
    quantity = schema.format == "quantity" and isinstance(value, (int, float))
    if not isinstance(value, wanted) and not quantity:
        names = {dict: "map", list: "list", str: "string", bool: "boolean"}
        raise TypeMismatch(f"{printed(path)}: expected {names[wanted]}, got {json.dumps(value)}")


@dataclass(frozen=True)
class Comparison:
    """Fields that the second of two objects adds, changes, and lacks."""

    added: FieldSet
    modified: FieldSet
    removed: FieldSet


def compare(schema: Schema, old: Any, new: Any) -> Comparison:
    """How `new` differs from `old`, field by field."""
    changes: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    _compare(schema, old, new, (), changes)
    return Comparison(*(frozenset(paths) for paths in changes))


def _compare(
    schema: Schema, old: Any, new: Any, path: Path, changes: tuple[list[Path], list[Path], list[Path]]
) -> None:
    if old is not UNSET and new is not UNSET and old == new and type(old) is type(new):
        return
    for element, child, before, after in _pairs(schema, old, new):
        _compare(child, before, after, (*path, element), changes)
    added, modified, removed = changes
    if old is UNSET:
        added.append(path)
    elif new is UNSET:
        removed.append(path)
    elif _is_leaf(schema, old, new):
        modified.append(path)


def _is_leaf(schema: Schema, old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return schema.atomic
    if isinstance(old, list) and isinstance(new, list):
        return not is_keyed(schema)
    containers = [value for value in (old, new) if isinstance(value, (dict, list))]
    return not (len(containers) == 1 and None in (old, new) and not _single(schema, containers[0]))


def _single(schema: Schema, value: Any) -> bool:
    return schema.atomic if isinstance(value, dict) else not is_keyed(schema)


def _pairs(schema: Schema, old: Any, new: Any) -> Iterator[tuple[str, Schema, Any, Any]]:
    if isinstance(old, dict) or isinstance(new, dict):
        if schema.atomic:
            return
        before = old if isinstance(old, dict) else {}
        after = new if isinstance(new, dict) else {}
        for key in before.keys() | after.keys():
            child = schema.child(key) or ANY
            yield f"f:{key}", child, before.get(key, UNSET), after.get(key, UNSET)
    elif (isinstance(old, list) or isinstance(new, list)) and is_keyed(schema):
        lists = [_lenient_items(schema, value) for value in (old, new)]
        for element in lists[0].keys() | lists[1].keys():
            yield element, schema.items or ANY, lists[0].get(element, UNSET), lists[1].get(element, UNSET)


def _lenient_items(schema: Schema, value: Any) -> dict[str, Any]:
    if not isinstance(value, list):
        return {}
    out: dict[str, Any] = {}
    for item in value:
        try:
            out.setdefault(item_element(schema, item), item)
        except TypeMismatch:
            continue
    return out
