"""The kinds of values that everything is made of: parts of a plan, and records that cross process borders.

A docstring under a field is its description, in the JSON schema too: meaning, unit, its default's reason.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Self

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_NAME = r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_OBJECT = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_WORD = r"^[^\s\x00-\x1f]+$"
MODEL_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9._/:@+]*[A-Za-z0-9])?$"
"""The names of models and adapters: with the slashes, versions and tags that people give them."""
_NAME_OR_TEMPLATE = rf"{_NAME}|^[a-z0-9][-a-z0-9]{{0,30}}\{{version\}}$"
_MODEL_NAME_OR_TEMPLATE = rf"{MODEL_NAME}|^[A-Za-z0-9][-A-Za-z0-9._/:@+]{{0,30}}\{{version\}}$"
SAID = r"\S"
_IN_WORDS = {
    SAID: "must say something",
    _NAME: "must be at most 53 lower-case letters, digits and hyphens, the first and last no hyphen",
    _NAMESPACE: "must be at most 63 lower-case letters, digits and hyphens, the first and last no hyphen",
    _OBJECT: "must be lower-case letters, digits, hyphens and dots, with a letter or digit beside each dot "
    "and at both ends",
    _WORD: "must be one word, without blanks",
    MODEL_NAME: "must be letters, digits and any of - . _ / : @ +, the first and last a letter or digit",
    _NAME_OR_TEMPLATE: "must be at most 53 lower-case letters, digits and hyphens, the first and last no "
    "hyphen, or up to 31 of them and then {version}",
    _MODEL_NAME_OR_TEMPLATE: "must be letters, digits and any of - . _ / : @ +, the first and last a letter "
    "or digit, or up to 31 of them and then {version}",
}

Name = Annotated[str, Field(pattern=_NAME)]
"""A Kubernetes name, to which others may be added."""
Namespace = Annotated[str, Field(pattern=_NAMESPACE)]
"""The name of a namespace."""
ObjectName = Annotated[str, Field(max_length=253, pattern=_OBJECT)]
"""The name of an object that is there already, which may be as long, and have dots, as names may in
Kubernetes."""
LabelledName = Annotated[str, Field(max_length=63, pattern=_OBJECT)]
"""The same of one whose name labels have as their values."""
Text = Annotated[str, Field(min_length=1, max_length=512, pattern=_WORD)]
"""One word: neither blanks nor control characters."""
ModelName = Annotated[str, Field(max_length=253, pattern=MODEL_NAME)]
"""A model or adapter, as clients name it."""
NewName = Annotated[str, Field(pattern=_NAME_OR_TEMPLATE)]
"""A Kubernetes name, or one that is yet to be made of a version: `llm-{version}`."""
NewModelName = Annotated[str, Field(max_length=253, pattern=_MODEL_NAME_OR_TEMPLATE)]
"""The same of a model or adapter."""
Percent = Annotated[int, Field(ge=1, le=100)]


class _Described(BaseModel):
    """Takes descriptions from the docstrings under fields, when a schema is made.

    Pydantic's `use_attribute_docstrings` does so at every import, which then lasts half as long again.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for base in reversed(cls.__mro__):
            if issubclass(base, _Described) and base.__module__ != _Described.__module__:
                for name, text in _docstrings(base).items():
                    fields[cls.model_fields[name].alias or name]["description"] = text
        return schema


def _docstrings(cls: type) -> dict[str, str]:
    """The docstrings under the fields of a class, from its source."""
    [definition] = ast.parse(inspect.getsource(cls)).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, following in pairwise(definition.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts


class Model(_Described):
    """A part of a plan: unknown fields are mistakes, and nothing changes after parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(_Described):
    """A frozen record of plain data. Unknown fields and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Dicts, lists, strings and finite numbers only."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The inverse of `to_json`; raises pydantic.ValidationError for anything else."""
        return cls.model_validate(value)


_MOST = sys.float_info.max
Finite = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
"""A number in a Plain, which is neither infinite nor NaN."""


class Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A frozen record like a Value, of which a hundred are made at every observation.

    It is made ten times as quickly, and garbage collection need not look at it: nothing in it refers back.
    As a part of a Value it is checked where that is read.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins)
        return core_schema.no_info_plain_validator_function(cls._checked, serialization=plain)

    @classmethod
    def _checked(cls, value: Any) -> Self:
        if isinstance(value, cls):
            return value
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error


def renamed(**names: str) -> Any:
    """A validator for the body of a model: a key that has another name now (old=new) is refused with it."""

    def refuse(value: Any) -> Any:
        if isinstance(value, Mapping) and (old := [name for name in names if name in value]):
            raise ValueError("; ".join(f"`{name}` is called `{names[name]}` now" for name in old))
        return value

    return model_validator(mode="before")(refuse)


def unstorable(value: Any, where: str = "") -> Iterator[str]:
    """The places of strings that no database keeps: with control characters, or halves of surrogate pairs."""
    match value:
        case str() if _UNSTORABLE.search(value):
            yield where
        case Mapping():
            for key, each in value.items():
                yield from unstorable(key, where)
                yield from unstorable(each, f"{where}.{key}".strip("."))
        case list() | tuple():
            for place, each in enumerate(value):
                yield from unstorable(each, f"{where}.{place}".strip("."))


def mistakes(error: ValidationError, tags: Collection[str] = ()) -> str:
    """Every mistake in one phrase: where, what, and what was given. `tags` are no part of the place."""
    found = error.errors()
    wrong = {each["loc"][:-1] for each in found}
    phrases = (_mistake(each, tags) for each in found if not _follows(each, wrong))
    return " ".join("; ".join(phrases).split())


def _follows(error: Any, wrong: Collection[tuple[Any, ...]]) -> bool:
    """Whether a list is called too short only because an item of it is wrong."""
    return error["type"] == "too_short" and error["loc"] in wrong


def _mistake(error: Any, tags: Collection[str]) -> str:
    where = ".".join(str(part) for part in error["loc"] if part not in tags)
    message = _IN_WORDS.get((error.get("ctx") or {}).get("pattern", ""), error["msg"])
    message = message.removeprefix("Value error, ")
    given = "" if error["type"] in ("value_error", "missing") else f" (given {str(error['input'])[:80]!r})"
    return f"{where}: {message}{given}" if where else message
