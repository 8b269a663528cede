"""The `x-kubernetes-validations` rules of custom resources, in CEL."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from cel.cel import Context, Program
from cel.cel import compile as compile_rule
from cel.stdlib import add_stdlib_to_context

from lab.apiserver.changes.fields import TypeMismatch, item_element
from lab.apiserver.errors import FieldError, invalid_value
from lab.apiserver.types.quantity import amount
from lab.apiserver.types.schema import Schema

RESERVED = {
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
    "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
}  # fmt: skip
REASONS = {"FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"}
MISSING: Any = object()


class CelError(ValueError):
    """A rule that is no CEL expression."""


@lru_cache(maxsize=4096)
def compiled(rule: str) -> Program:
    """Raises CelError."""
    try:
        return compile_rule(rule.strip())
    except ValueError as error:
        raise CelError(str(error)) from error


def check(schema: Schema, new: Any, old: Any = MISSING, path: str = "") -> list[FieldError]:
    """The errors of every rule that `new` breaks; `old` is what stood there, for rules on transitions.

    What did not change since `old` is not judged again.
    """
    if not schema.has_rules or (old is not MISSING and new == old):
        return []
    errors = _rule_errors(schema, new, old, path) if schema.rules and new is not None else []
    for name, child, value, before in _children(schema, new, old, path):
        errors += check(child, value, before, name)
    return errors


def _children(schema: Schema, new: Any, old: Any, path: str) -> Iterator[tuple[str, Schema, Any, Any]]:
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        for key, value in new.items():
            child = schema.child(key)
            if child is not None and child.has_rules:
                name = f"{path}[{key}]" if schema.is_map else f"{path}.{key}" if path else key
                yield name, child, value, known.get(key, MISSING)
    elif isinstance(new, list) and schema.items is not None and schema.items.has_rules:
        known = _by_key(schema, old) if isinstance(old, list) and schema.list_type == "map" else {}
        for i, value in enumerate(new):
            before = known.get(_key(schema, value), MISSING) if known else MISSING
            yield f"{path}[{i}]", schema.items, value, before


def _by_key(schema: Schema, items: list[Any]) -> dict[str, Any]:
    return {_key(schema, item): item for item in items}


def _key(schema: Schema, item: Any) -> str:
    try:
        return item_element(schema, item)
    except TypeMismatch:
        return ""


def _rule_errors(schema: Schema, new: Any, old: Any, path: str) -> list[FieldError]:
    variables = {"self": _escaped(schema, new)}
    if old is not MISSING and old is not None:
        variables["oldSelf"] = _escaped(schema, old)
    context = Context(variables)
    if any(_needs_library(text) for rule in schema.rules for text in _expressions(rule)):
        add_stdlib_to_context(context)
        for name, function in LIBRARY.items():
            context.add_function(name, function)
    errors = (
        _broken(rule, context, path)
        for rule in schema.rules
        if "oldSelf" in variables or not _is_transition(rule["rule"])
    )
    return [error for error in errors if error is not None]


def _expressions(rule: Mapping[str, Any]) -> list[str]:
    return [rule[name] for name in ("rule", "messageExpression") if rule.get(name)]


@lru_cache(maxsize=4096)
def _is_transition(text: str) -> bool:
    return "oldSelf" in compiled(text).variables()


def _broken(rule: Mapping[str, Any], context: Context, path: str) -> FieldError | None:
    text = rule["rule"]
    try:
        held = compiled(text).execute(context)
    except Exception as error:
        return invalid_value(path, None, f"rule evaluation error: {error}: {text.strip()}")
    if held is True:
        return None
    reason = rule.get("reason", "FieldValueInvalid")
    place = path + _field_path(rule.get("fieldPath", ""))
    message = _message(rule, context)
    return FieldError(reason if reason in REASONS else "FieldValueInvalid", place, message, None, False)


def _field_path(text: str) -> str:
    return re.sub(r"\['([^']*)'\]", r".\1", text)


def _message(rule: Mapping[str, Any], context: Context) -> str:
    expression = rule.get("messageExpression")
    if expression:
        try:
            text = compiled(expression).execute(context)
        except Exception:
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    text = rule.get("message") or f"failed rule: {rule['rule'].strip()}"
    return str(text).strip()


@lru_cache(maxsize=4096)
def _needs_library(text: str) -> bool:
    core = {"size", "has", "matches", "contains", "startsWith", "endsWith", "duration", "int", "string",
            "double", "timestamp", "type", "dyn"}  # fmt: skip
    functions = (name for name in compiled(text).functions() if not name.startswith(("_", "@", "!", "-")))
    return any(name not in core for name in functions)


def _escaped(schema: Schema, value: Any) -> Any:
    """The value with its field names as CEL can write them."""
    if isinstance(value, dict):
        if schema.is_map:
            values = schema.additional
            return {key: _escaped(values, item) if values else item for key, item in value.items()}
        return {
            escape(key) if key in schema.properties else key: _escaped(child, item) if child else item
            for key, item in value.items()
            for child in (schema.child(key),)
        }
    if isinstance(value, list) and schema.items is not None:
        return [_escaped(schema.items, item) for item in value]
    return value


@lru_cache(maxsize=4096)
def escape(name: str) -> str:
    """A property's name in CEL: `namespace` is `__namespace__`, `a-b` is `a__dash__b`."""
    if name in RESERVED:
        return f"__{name}__"
    text = name.replace("__", "__underscores__")
    return text.replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")


def _succeeds(function: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def tried(value: Any) -> bool:
        try:
            function(value)
        except ValueError:
            return False
        return True

    return tried


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme and (parts.netloc or parts.path.startswith("/")))


def _format(template: str, values: list[Any]) -> str:
    rest = iter(values)
    return re.sub(
        r"%(?:\.\d+)?[sdfebxXo]|%%", lambda m: "%" if m[0] == "%%" else _shown(next(rest)), template
    )


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


LIBRARY: dict[str, Callable[..., Any]] = {
    "find": _find,
    "findAll": lambda text, pattern: [match[0] for match in re.finditer(pattern, text)],
    "format": _format,
    "isSorted": lambda items: all(a <= b for a, b in pairwise(items)),
    "isURL": _is_url,
    "isIP": _succeeds(ipaddress.ip_address),
    "isCIDR": _succeeds(ipaddress.ip_network),
    "isQuantity": _succeeds(amount),
    "quantity": lambda text: float(amount(text)),
    "isGreaterThan": lambda one, other: one > other,
    "isLessThan": lambda one, other: one < other,
    "compareTo": lambda one, other: (one > other) - (one < other),
}
