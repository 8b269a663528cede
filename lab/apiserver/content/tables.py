"""Objects as tables, as `kubectl get` prints them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from lab.apiserver.content import jsonpath
from lab.apiserver.content.printers import CELLS, HEADINGS, Row, age, name_and_age
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object

NAME: Object = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}


def _column(heading: str) -> Object:
    """`Name*` is shown by `-o wide` only; `#` in front stands for a number."""
    name = heading.strip("*#")
    kind = "integer" if heading.startswith("#") else "string"
    wide = 1 if heading.endswith("*") else 0
    return {"name": name, "type": kind, "format": "", "description": "", "priority": wide}


def table(resource: Resource, objects: Iterable[Object], include: str, metadata: Object) -> Object:
    """A Table of objects in served form; `include` is what each row carries: Metadata, Object or None."""
    cells = _custom_cells(resource) if resource.custom else CELLS.get(resource.kind, name_and_age)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns(resource),
        "rows": [{"cells": cells(item), "object": _carried(item, include)} for item in objects],
    }


def columns(resource: Resource) -> list[Object]:
    if resource.custom:
        return [
            NAME,
            *(
                {
                    "name": item["name"],
                    "type": item["type"],
                    "format": item.get("format", ""),
                    "description": item.get("description", ""),
                    "priority": item.get("priority", 0),
                }
                for item in resource.columns
            ),
        ]
    described = [_column(heading) for heading in HEADINGS.get(resource.kind, "Age").split(",")]
    return described if resource.kind == "Event" else [NAME, *described]


def partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _carried(item: Object, include: str) -> Any:
    if include == "Object":
        return item
    return None if include == "None" else partial(item)


def _custom_cells(resource: Resource) -> Callable[[Object], Row]:
    def cells(item: Object) -> Row:
        row: Row = [item["metadata"]["name"]]
        for column in resource.columns:
            values = jsonpath.find(column["jsonPath"], item)
            row.append(_custom_cell(column["type"], values))
        return row

    return cells


def _custom_cell(kind: str, found: list[Any]) -> Any:
    if not found:
        return None
    if kind == "date":
        return age(found[0])
    if kind == "string":
        texts = [
            value if isinstance(value, str) else json.dumps(value, separators=(",", ":")) for value in found
        ]
        return ",".join(texts)
    return found[0]
