"""What a schema refuses, and by which reason."""

from __future__ import annotations

from typing import Any

import pytest

from lab.apiserver.types.schema import Parser
from lab.apiserver.types.validation import validate


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
