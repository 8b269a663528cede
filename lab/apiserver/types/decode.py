"""Reading objects as a Kubernetes server does: unknown fields leave, zeros and defaults take their form.

Built-in kinds take the form that Go's structs give them (`decode`), custom resources that of their
structural schema (`prune`, then `fill_defaults`).
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any

from lab.apiserver.types.quantity import canonical
from lab.apiserver.types.schema import UNSET, Object, Schema, clone

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", re.ASCII)
INTEGER_RANGES = {"int32": 2**31, "int64": 2**63}


class DecodeError(ValueError):
    """A value of the wrong type; the text is the one that Go's JSON decoder would give."""


def decode(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    """A built-in kind's value as its Go type would hold it; names of unknown fields go to `unknown`.

    The input is not changed. Raises DecodeError.
    """
    if schema.preserve:
        return clone(value)
    if schema.type == "object":
        _expect(isinstance(value, dict), value, path, "map" if schema.is_map else "struct")
        read = _decode_map if schema.is_map else _decode_struct
        return read(schema, value, path, unknown)
    if schema.type == "array" and schema.items:
        _expect(isinstance(value, list), value, path, "slice")
        items = schema.items
        return [decode(items, item, f"{path}[{i}]", unknown) for i, item in enumerate(value)]
    return _decode_scalar(schema, value, path)


def _decode_map(schema: Schema, value: Object, path: str, unknown: list[str]) -> Object:
    values = schema.additional
    assert values is not None
    return {
        key: decode(values, item, f"{path}.{key}", unknown) if item is not None else ""
        for key, item in value.items()
    }


def _decode_struct(schema: Schema, value: Object, path: str, unknown: list[str]) -> Object:
    out: Object = {}
    for key, item in value.items():
        child = schema.properties.get(key)
        if child is None:
            unknown.append(f"{path}.{key}" if path else key)
        elif item is not None:
            decoded = decode(child, item, f"{path}.{key}" if path else key, unknown)
            if not _omitted(child, decoded):
                out[key] = decoded
    for key, child in schema.properties.items():
        if child.zero is not UNSET and out.get(key) is None:
            out[key] = decode(child, {}, "", unknown) if child.zero == {} else child.zero
    return out


def _omitted(child: Schema, value: Any) -> bool:
    if child.zero is not UNSET:
        return False
    if child.type == "array" or child.is_map or child.type == "string":
        return value in ("", [], {})
    return child.omit_zero and not value


def _decode_scalar(schema: Schema, value: Any, path: str) -> Any:
    if schema.int_or_string:
        _expect(isinstance(value, str) or _is_integer(value), value, path, "intstr.IntOrString")
        return value
    if schema.type == "integer":
        bound = INTEGER_RANGES[schema.format]
        _expect(_is_integer(value) and -bound <= value < bound, value, path, schema.format)
        return value
    if schema.type == "boolean":
        _expect(isinstance(value, bool), value, path, "bool")
        return value
    if schema.format == "quantity":
        return _decode_quantity(value, path)
    _expect(isinstance(value, str), value, path, "string")
    return READERS.get(schema.format, _as_is)(value, path)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expect(matches: bool, value: Any, path: str, wanted: str) -> None:
    if not matches:
        place = f"Go struct field .{path}" if path else "Go value"
        raise DecodeError(f"json: cannot unmarshal {_json_type(value)} into {place} of type {wanted}")


def _json_type(value: Any) -> str:
    names = {bool: "bool", str: "string", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), "number")


def _decode_quantity(value: Any, path: str) -> str:
    try:
        return canonical(value)
    except ValueError as error:
        raise DecodeError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from error


def _as_is(value: str, path: str) -> str:
    return value


def _read_time(value: str, path: str) -> str | None:
    return _parse_time(value, TIME, "").strftime("%Y-%m-%dT%H:%M:%SZ") if value else None


def _read_micro_time(value: str, path: str) -> str | None:
    return _parse_time(value, MICRO_TIME, ".000000").strftime("%Y-%m-%dT%H:%M:%S.%fZ") if value else None


def _parse_time(text: str, form: re.Pattern[str], fraction: str) -> datetime:
    layout = f"2006-01-02T15:04:05{fraction}Z07:00"
    if not form.fullmatch(text):
        raise DecodeError(f'parsing time "{text}" as "{layout}": cannot parse "{text}"')
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise DecodeError(f'parsing time "{text}" as "{layout}": {error}') from error


def _read_bytes(value: str, path: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise DecodeError("illegal base64 data at input byte 0") from error
    return value


READERS = {"date-time": _read_time, "micro-time": _read_micro_time, "byte": _read_bytes}


def prune(
    schema: Schema, value: Any, path: str, unknown: list[str], keep: frozenset[str] = frozenset()
) -> None:
    """Drops, in place, what a structural schema does not name; the names go to `unknown`."""
    if isinstance(value, list):
        if schema.items:
            for i, item in enumerate(value):
                prune(schema.items, item, f"{path}[{i}]", unknown)
        return
    if not isinstance(value, dict):
        return
    kept = keep | {"apiVersion", "kind", "metadata"} if schema.embedded else keep
    for key in list(value):
        child = schema.child(key)
        name = f"{path}.{key}" if path else key
        if child is not None:
            prune(child, value[key], name, unknown)
        elif not schema.preserve and key not in kept:
            del value[key]
            unknown.append(name)


def fill_defaults(schema: Schema, value: Any) -> None:
    """Fills a custom resource's defaults, in place; nulls that the schema does not allow leave first."""
    if isinstance(value, list):
        if schema.items:
            for item in value:
                fill_defaults(schema.items, item)
        return
    if not isinstance(value, dict):
        return
    _drop_nulls(schema, value)
    if schema.has_defaults:
        for key, child in schema.properties.items():
            if child.default is not UNSET and key not in value:
                value[key] = clone(child.default)
    for key, item in value.items():
        below = schema.child(key)
        if below is not None and isinstance(item, (dict, list)):
            fill_defaults(below, item)


def _drop_nulls(schema: Schema, value: Object) -> None:
    for key in [key for key, item in value.items() if item is None]:
        child = schema.child(key)
        if child is not None and not child.nullable:
            del value[key]


def fill_static_defaults(schema: Schema, value: Any) -> None:
    """Fills the unconditional defaults of a built-in kind, in place."""
    items = schema.items
    if isinstance(value, list) and items is not None:
        for item in value:
            fill_static_defaults(items, item)
    if not isinstance(value, dict):
        return
    for key, child in schema.properties.items():
        if not child.has_defaults:
            continue
        if child.default is not UNSET and value.get(key) in (None, ""):
            value[key] = clone(child.default)
        if key in value:
            fill_static_defaults(child, value[key])
