"""Merging an applied configuration into a live object, and taking fields out of an object."""

from __future__ import annotations

from typing import Any

from lab.apiserver.changes.fields import (
    FieldSet,
    Path,
    child_schema,
    is_keyed,
    item_element,
    items_by_element,
)
from lab.apiserver.types.schema import ANY, Object, Schema


def merge(schema: Schema, live: Any, config: Any, path: Path = ()) -> Any:
    """The live value with the configuration's fields put over it. Raises TypeMismatch."""
    if isinstance(live, dict) and isinstance(config, dict) and not schema.atomic:
        out = dict(live)
        for key, item in config.items():
            child = child_schema(schema, key, path)
            out[key] = merge(child, live[key], item, (*path, f"f:{key}")) if key in live else item
        return out
    if isinstance(live, list) and isinstance(config, list) and is_keyed(schema):
        return _merge_lists(schema, live, config, path)
    return config


def _merge_lists(schema: Schema, live: list[Any], config: list[Any], path: Path) -> list[Any]:
    """Shared items take the order of the configuration, others stay beside their neighbours."""
    assert schema.items is not None
    ours = items_by_element(schema, config, path)
    theirs = [(item_element(schema, item, path), item) for item in live]
    known = dict(theirs)
    pending = list(ours)
    out: list[Any] = []

    def take(element: str) -> None:
        item = ours[element]
        if element in known and schema.items is not None and schema.list_type == "map":
            item = merge(schema.items, known[element], item, (*path, element))
        out.append(item)

    for element, item in theirs:
        if element not in ours:
            out.append(item)
            continue
        while element in pending:
            take(pending.pop(0))
    for element in pending:
        take(element)
    return out


def remove(schema: Schema, value: Any, fields: FieldSet) -> Any:
    """The value less the given fields; what becomes empty by that becomes null."""
    tree: Object = {}
    for path in fields:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _remove(schema, value, tree)


def _remove(schema: Schema, value: Any, tree: Object) -> Any:
    if isinstance(value, dict) and not schema.atomic:
        out: Object = {}
        for key, item in value.items():
            below = tree.get(f"f:{key}")
            if below is None:
                out[key] = item
            elif "." not in below:
                out[key] = _remove(schema.child(key) or ANY, item, below)
        return out or None
    if isinstance(value, list) and is_keyed(schema):
        kept = []
        for item in value:
            below = tree.get(item_element(schema, item))
            if below is None:
                kept.append(item)
            elif "." not in below:
                kept.append(_remove(schema.items or ANY, item, below))
        return kept or None
    return value
