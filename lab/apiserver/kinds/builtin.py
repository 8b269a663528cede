"""The built-in kinds, read from `data/kinds.yaml` and `data/types.yaml`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lab.apiserver.types.schema import Object, Parser

DATA = Path(__file__).parents[1] / "data"
SCALARS: dict[str, Object] = {
    "string": {"type": "string"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "bool": {"type": "boolean"},
    "number": {"type": "number"},
    "quantity": {"type": "string", "format": "quantity"},
    "intstr": {"format": "int-or-string", "x-kubernetes-int-or-string": True},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "micro-time"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
ZEROS = {"string": "", "integer": 0, "boolean": False}


def read_types() -> dict[str, Object]:
    """Every named type as an OpenAPI document."""
    types: dict[str, Object] = {}
    for heading, fields in _load("types.yaml").items():
        name, _, atomic = heading.partition(" ")
        types[name] = object_document(fields)
        if atomic:
            types[name]["x-kubernetes-map-type"] = "atomic"
    return types


@cache
def read_kinds() -> list[Object]:
    kinds: list[Object] = _load("kinds.yaml")
    return kinds


@cache
def types_parser() -> Parser:
    return Parser(read_types())


def object_document(fields: dict[str, str]) -> Object:
    """The OpenAPI document of an object whose fields are written in the notation of types.yaml."""
    document: Object = {"type": "object", "properties": {}}
    needed = []
    for name, notation in fields.items():
        text, *flags = notation.split()
        child = _type_document(text)
        if "required" in flags:
            needed.append(name)
        for flag in flags:
            _apply_flag(child, flag)
        document["properties"][name] = child
    if needed:
        document["required"] = needed
    return document


def _load(name: str) -> Any:
    return yaml.load((DATA / name).read_text(), yaml.CSafeLoader)


def _type_document(text: str) -> Object:
    if text.startswith("["):
        return {"type": "array", "items": _type_document(text[1:-1])}
    if text.startswith("{"):
        return {"type": "object", "additionalProperties": _type_document(text[1:-1])}
    return dict(SCALARS[text]) if text in SCALARS else {"$ref": text}


def _apply_flag(child: Object, flag: str) -> None:
    word, _, value = flag.partition("=")
    if bound := re.fullmatch(r"([<>])=(-?\d+)", flag):
        child["minimum" if bound[1] == ">" else "maximum"] = int(bound[2])
    elif word in WORDS and value:
        WORDS[word](child, value)
    elif word == "" and "=" in flag:
        child["default"] = _literal(child, value)
    elif flag in MARKS:
        MARKS[flag](child)


def _patch_strategy(child: Object, strategy: str) -> None:
    known = child.get("x-kubernetes-patch-strategy")
    child["x-kubernetes-patch-strategy"] = f"{known},{strategy}" if known else strategy


def _zero(child: Object) -> Any:
    return None if child.get("format") in ("date-time", "micro-time") else ZEROS.get(child.get("type", ""))


def _literal(child: Object, text: str) -> Any:
    if text == "{}":
        return {}
    return int(text) if child.get("type") == "integer" else text


def _always(child: Object) -> None:
    child["x-lab-zero"] = {} if "$ref" in child else _zero(child)


def _atomic(child: Object) -> None:
    child["x-kubernetes-map-type" if child["type"] == "object" else "x-kubernetes-list-type"] = "atomic"


def _keyed(child: Object, keys: str) -> None:
    child["x-kubernetes-list-type"] = "map"
    child["x-kubernetes-list-map-keys"] = keys.split(",")


def _merged(child: Object, key: str) -> None:
    _patch_strategy(child, "merge")
    child["x-kubernetes-patch-merge-key"] = key


MARKS: dict[str, Callable[[Object], None]] = {
    "!": _always,
    "null": lambda child: child.update({"x-lab-zero": None}),
    "~": lambda child: child.update({"x-lab-omit-zero": True}),
    "set": lambda child: child.update({"x-kubernetes-list-type": "set"}),
    "atomic": _atomic,
    "merge": lambda child: _patch_strategy(child, "merge"),
    "retain": lambda child: _patch_strategy(child, "retainKeys"),
}
WORDS: dict[str, Callable[[Object, str], None]] = {
    "key": _keyed,
    "merge": _merged,
    "in": lambda child, value: child.update({"enum": value.split("|")}),
}
