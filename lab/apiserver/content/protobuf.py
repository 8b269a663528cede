"""Reading the binary form in which kubectl sends objects of built-in kinds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import yaml

from lab.apiserver.kinds.builtin import DATA, types_parser
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object, Schema

MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
TIMES = ("date-time", "micro-time")
FIELDS = "fieldsV1"
"""The one field whose binary form is a message that holds JSON."""


class ProtobufError(ValueError):
    """Bytes that are no such message."""


@cache
def layouts() -> dict[str, dict[int, str]]:
    """The fields of each type by their numbers."""
    text = yaml.load((DATA / "protobuf.yaml").read_text(), yaml.CSafeLoader)
    return {
        name: {number: field for number, field in enumerate(fields.split(), 1) if field != "-"}
        for name, fields in text.items()
    }


def read(raw: bytes, kinds: Mapping[str, Resource]) -> Object:
    """The object in an envelope; `kinds` are those it may be of. Raises ProtobufError."""
    if not raw.startswith(MAGIC):
        raise ProtobufError("the body has no such prefix")
    envelope = dict(_fields(raw[len(MAGIC) :]))
    kind = {number: value.decode() for number, value in _fields(envelope.get(1, b""))}
    api_version, name = kind.get(1, ""), kind.get(2, "")
    resource = kinds.get(name)
    if resource is None:
        raise ProtobufError(f"no binary form of {name or 'this kind'} is known here")
    document: Object = _message(resource.schema, name, envelope.get(2, b""))
    return {**document, "apiVersion": api_version, "kind": name}


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: bytes for what has a length, integers for the rest."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == VARINT:
            value, at = _varint(raw, at)
        elif wire == BYTES:
            size, at = _varint(raw, at)
            value, at = raw[at : at + size], at + size
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
            value, at = int.from_bytes(raw[at : at + size], "little"), at + size
        else:
            raise ProtobufError(f"wire type {wire} is unknown")
        if at > len(raw):
            raise ProtobufError("the message is cut short")
        yield number, value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw):
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise ProtobufError("the message is cut short")


def _message(schema: Schema, name: str, raw: bytes) -> Object:
    out: Object = {}
    layout = layouts().get(name, {})
    for number, value in _fields(raw):
        key = layout.get(number)
        child = schema.properties.get(key) if key else None
        if key is None or child is None:
            continue
        if child.is_map:
            entry = dict(_fields(value))
            assert child.additional is not None
            item = _value(child.additional, entry.get(2, b""))
            out.setdefault(key, {})[entry.get(1, b"").decode()] = item
        elif key == FIELDS:
            out[key] = json.loads(dict(_fields(value)).get(1, b"{}"))
        elif child.type == "array":
            assert child.items is not None
            out.setdefault(key, []).append(_value(child.items, value))
        else:
            out[key] = _value(child, value)
    return out


def _value(schema: Schema, value: Any) -> Any:
    if schema.int_or_string:
        parts = dict(_fields(value))
        return parts[3].decode() if parts.get(1) else _signed(parts.get(2, 0))
    if schema.type == "boolean":
        return bool(value)
    if schema.type == "integer":
        return _signed(value)
    if schema.format == "byte":
        return base64.b64encode(value).decode()
    if schema.format in TIMES:
        return _time(dict(_fields(value)))
    if schema.format == "quantity":
        return dict(_fields(value)).get(1, b"0").decode()
    if schema.type == "string":
        return value.decode()
    reference = schema.doc.get("$ref", "")
    return _message(types_parser().ref(reference), reference, value) if reference else {}


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _time(parts: dict[int, int]) -> str | None:
    seconds = _signed(parts.get(1, 0))
    if not parts:
        return None
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=parts.get(2, 0) // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
