"""Objects as tables, as `kubectl get` prints them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import yaml

from lab.apiserver.content import jsonpath
from lab.apiserver.content.printers import CELLS, HEADINGS, Row, age, name_and_age
from lab.apiserver.kinds.builtin import DATA
from lab.apiserver.kinds.crds import AGE
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object

CUSTOM_COLUMN = "Custom resource definition column (in JSONPath format): "


@cache
def descriptions() -> dict[str, str]:
    """The descriptions of columns, by `KIND.COLUMN` or `COLUMN`."""
    texts: dict[str, str] = yaml.load((DATA / "columns.yaml").read_text(), yaml.CSafeLoader)
    return texts


def _name_column() -> Object:
    described = descriptions()["Name"]
    return {"name": "Name", "type": "string", "format": "name", "description": described, "priority": 0}


def _column(resource_kind: str, heading: str) -> Object:
    """`Name*` is shown by `-o wide` only; `#` in front stands for a number."""
    name = heading.strip("*#")
    kind = "integer" if heading.startswith("#") else "string"
    wide = 1 if heading.endswith("*") else 0
    described = descriptions().get(f"{resource_kind}.{name}") or descriptions().get(name, "")
    return {"name": name, "type": kind, "format": "", "description": described, "priority": wide}


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
            _name_column(),
            *(
                {
                    "name": item["name"],
                    "type": item["type"],
                    "format": item.get("format", ""),
                    "description": _described(item),
                    "priority": item.get("priority", 0),
                }
                for item in resource.columns
            ),
        ]
    described = [_column(resource.kind, heading) for heading in HEADINGS.get(resource.kind, "Age").split(",")]
    return described if resource.kind == "Event" else [_name_column(), *described]


def _described(column: Object) -> str:
    if column is AGE:
        return descriptions()["Age"]
    return column.get("description") or f"{CUSTOM_COLUMN}{column['jsonPath']}"


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
