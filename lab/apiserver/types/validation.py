"""Checking a value against its schema, with the errors a Kubernetes server gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from lab.apiserver.errors import FieldError, duplicate, invalid_value, required, unsupported
from lab.apiserver.types.schema import Schema

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
FORMATS = {
    "date-time": r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)",
    "date": r"\d{4}-\d\d-\d\d",
    "ipv4": r"(\d{1,3}\.){3}\d{1,3}",
    "uuid": r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}",
    "byte": r"[A-Za-z0-9+/]*={0,2}",
}
BLOCKING = {
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
}


def validate(schema: Schema, value: Any, path: str = "") -> list[FieldError]:
    """Every way in which a custom resource's value breaks its schema; CEL rules apart."""
    if value is None and schema.nullable:
        return []
    wrong = _type_error(schema, value, path)
    if wrong:
        return [wrong]
    errors = [*_limits(schema, value, path), *_combinations(schema, value, path)]
    if isinstance(value, dict):
        errors += _object_errors(schema, value, path)
    elif isinstance(value, list) and schema.items:
        for i, item in enumerate(value):
            errors += validate(schema.items, item, f"{path}[{i}]")
        errors += _duplicates(schema, value, path)
    return errors


def _type_error(schema: Schema, value: Any, path: str) -> FieldError | None:
    if schema.int_or_string:
        fits = isinstance(value, (int, str)) and not isinstance(value, bool)
        wanted = "integer,string"
    else:
        fits = not schema.type or _is(schema.type, value)
        wanted = schema.type
    if fits:
        return None
    kind = json_type(value)
    return FieldError(
        "FieldValueTypeInvalid", path, f'{path} in body must be of type {wanted}: "{kind}"', kind
    )


def _is(wanted: str, value: Any) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[wanted])


def json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _object_errors(schema: Schema, value: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in schema.required:
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    for key, item in value.items():
        child = schema.child(key)
        if child is not None:
            yield from validate(child, item, f"{path}.{key}" if path else key)


def _limits(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    limits = schema.limits
    if not limits and not schema.format:
        return
    if "enum" in limits and value not in limits["enum"]:
        yield unsupported(path, value, limits["enum"])
    if isinstance(value, str):
        yield from _string_limits(schema, value, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number_limits(limits, value, path)
    elif isinstance(value, list):
        yield from _size_limits(limits, value, path, "Items", "items")
        if limits.get("uniqueItems"):
            yield from _repeated(value, path)
    elif isinstance(value, dict):
        yield from _size_limits(limits, value, path, "Properties", "properties")


def _string_limits(schema: Schema, value: str, path: str) -> Iterator[FieldError]:
    limits = schema.limits
    if len(value) > limits.get("maxLength", len(value)):
        detail = f"may not be more than {limits['maxLength']} bytes"
        yield FieldError("FieldValueTooLong", path, detail, value)
    if len(value) < limits.get("minLength", 0):
        yield invalid_value(
            path, value, f"{path} in body should be at least {limits['minLength']} chars long"
        )
    pattern = limits.get("pattern")
    if pattern and not _compiled(pattern).search(value):
        yield invalid_value(path, value, f"{path} in body should match '{pattern}'")
    if schema.format and not _has_format(schema.format, value):
        detail = f"{path} in body must be of type {schema.format}: {json.dumps(value)}"
        yield FieldError("FieldValueTypeInvalid", path, detail, value)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A RE2 pattern for Python: `$` is the end of the text only, classes are ASCII."""
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), re.ASCII)


def _has_format(name: str, value: str) -> bool:
    pattern = FORMATS.get(name)
    if pattern and not re.fullmatch(pattern, value):
        return False
    if name == "date-time":
        try:
            datetime.fromisoformat(value.upper())
        except ValueError:
            return False
    return True


def _number_limits(limits: dict[str, Any], value: float, path: str) -> Iterator[FieldError]:
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None:
        strict = limits.get("exclusiveMinimum", False)
        if value < low or (strict and value == low):
            bound = f"greater than {low}" if strict else f"greater than or equal to {low}"
            yield invalid_value(path, value, f"{path} in body should be {bound}")
    if high is not None:
        strict = limits.get("exclusiveMaximum", False)
        if value > high or (strict and value == high):
            bound = f"less than {high}" if strict else f"less than or equal to {high}"
            yield invalid_value(path, value, f"{path} in body should be {bound}")
    multiple = limits.get("multipleOf")
    if multiple and value % multiple:
        yield invalid_value(path, value, f"{path} in body should be a multiple of {multiple}")


def _size_limits(
    limits: dict[str, Any], value: list[Any] | dict[str, Any], path: str, suffix: str, noun: str
) -> Iterator[FieldError]:
    most, least = limits.get(f"max{suffix}"), limits.get(f"min{suffix}", 0)
    if most is not None and len(value) > most:
        yield FieldError("FieldValueTooMany", path, f"must have at most {most} {'items'}", len(value))
    if len(value) < least:
        yield invalid_value(path, len(value), f"{path} in body should have at least {least} {noun}")


def _duplicates(schema: Schema, value: list[Any], path: str) -> Iterator[FieldError]:
    if schema.list_type == "set":
        yield from _repeated(value, path)
    elif schema.list_type == "map":
        keys = [
            {key: item.get(key) for key in schema.list_keys if key in item}
            for item in value
            if isinstance(item, dict)
        ]
        yield from _repeated(keys, path)


def _repeated(values: list[Any], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, value in enumerate(values):
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            yield duplicate(f"{path}[{i}]", value)
        seen.add(text)


def _combinations(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    for child in schema.all_of:
        yield from validate(child, value, path)
    if schema.any_of and not schema.int_or_string and all(validate(c, value, path) for c in schema.any_of):
        yield invalid_value(path, "", f'"{path}" must validate at least one schema (anyOf)')
    if schema.one_of:
        fitting = sum(not validate(child, value, path) for child in schema.one_of)
        if fitting != 1:
            count = "none valid" if fitting == 0 else f"{fitting} valid alternatives"
            text = f'"{path}" must validate one and only one schema (oneOf). Found {count}'
            yield invalid_value(path, "", text)
    if schema.negated is not None and not validate(schema.negated, value, path):
        yield invalid_value(path, "", f'"{path}" must not validate the schema (not)')
