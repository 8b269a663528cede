"""Answering in binary form, for kinds of which the number of every field is known."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from functools import cache
from typing import Any

from lab.apiserver.content.protobuf import BYTES, FIELDS, MAGIC, TIMES, VARINT, layouts
from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object, Schema


@cache
def writable(resource: Resource) -> bool:
    """Whether objects of this built-in kind can be answered in binary form."""
    return _complete(resource.schema, resource.kind)


def _complete(schema: Schema, name: str) -> bool:
    known = set(layouts().get(name, {}).values())
    for key, child in schema.properties.items():
        item = child.items or child.additional or child
        reference = item.doc.get("$ref", "")
        if key in ("apiVersion", "kind") and name not in ("OwnerReference", "ObjectReference"):
            continue
        if key not in known or (item.preserve and key != FIELDS):
            return False
        if reference and not _complete(types_parser().ref(reference), reference):
            return False
    return True


def write(resource: Resource, document: Object) -> bytes:
    """An object in its envelope."""
    kind = _sized(1, resource.api_version.encode()) + _sized(2, resource.kind.encode())
    raw = _message(resource.schema, resource.kind, document)
    return MAGIC + _sized(1, kind) + _sized(2, raw)


def _message(schema: Schema, name: str, value: Object) -> bytes:
    out = b""
    for number, key in layouts().get(name, {}).items():
        child, item = schema.properties.get(key), value.get(key)
        if child is None or item is None:
            continue
        if child.is_map:
            assert child.additional is not None
            for entry, held in item.items():
                out += _sized(number, _sized(1, entry.encode()) + _field(child.additional, 2, held))
        elif child.type == "array":
            assert child.items is not None
            out += b"".join(_field(child.items, number, each) for each in item)
        elif key == FIELDS:
            out += _sized(number, _sized(1, json.dumps(item, separators=(",", ":")).encode()))
        else:
            out += _field(child, number, item)
    return out


def _field(schema: Schema, number: int, value: Any) -> bytes:
    if schema.int_or_string:
        text = isinstance(value, str)
        return _sized(number, _number(1, text) + (_sized(3, value.encode()) if text else _number(2, value)))
    if schema.type in ("boolean", "integer"):
        return _number(number, value)
    if schema.format == "byte":
        return _sized(number, base64.b64decode(value))
    if schema.format in TIMES:
        moment = datetime.fromisoformat(value)
        return _sized(number, _number(1, int(moment.timestamp())) + _number(2, moment.microsecond * 1000))
    if schema.format == "quantity":
        return _sized(number, _sized(1, value.encode()))
    if schema.type == "string":
        return _sized(number, value.encode())
    reference = schema.doc["$ref"]
    return _sized(number, _message(types_parser().ref(reference), reference, value))


def _sized(number: int, raw: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(raw)) + raw


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | VARINT) + _varint(int(value) % 2**64)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
