"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lab.apiserver.errors import ApiError, bad_request

Matcher = Callable[[Mapping[str, str]], bool]
SET_TERM = re.compile(r"\s*([^\s!=<>()]+)\s+(in|notin)\s*\(([^()]*)\)\s*")
KEY = re.compile(r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def everything(labels: Mapping[str, str]) -> bool:
    return True


def label_selector(text: str) -> Matcher:
    """The selector that a query parameter states. Raises ApiError 400."""
    terms = [_label_term(term) for term in _split(text)]
    if not terms:
        return everything
    return lambda labels: all(term(labels) for term in terms)


def _split(text: str) -> list[str]:
    """The terms between commas outside of parentheses."""
    return [term for term in re.split(r",(?![^()]*\))", text) if term.strip()]


def _label_term(term: str) -> Matcher:
    if in_set := SET_TERM.fullmatch(term):
        key, verb, listed = in_set.groups()
        values = {value.strip() for value in listed.split(",")}
        _check(term, key, *values)
        if verb == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    text = term.strip()
    if text.startswith("!"):
        absent = text[1:].strip()
        _check(term, absent)
        return lambda labels: absent not in labels
    parts = re.split(r"(!=|==?|>|<)", text, maxsplit=1)
    key = parts[0].strip()
    if len(parts) == 1:
        _check(term, key)
        return lambda labels: key in labels
    return _comparison(term, key, parts[1], parts[2].strip())


def _comparison(term: str, key: str, operator: str, value: str) -> Matcher:
    _check(term, key, value)
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    if operator in ("=", "=="):
        return lambda labels: labels.get(key) == value
    try:
        bound = int(value)
    except ValueError as error:
        raise _malformed(term) from error
    sign = 1 if operator == ">" else -1
    return lambda labels: labels.get(key, "").isdigit() and sign * (int(labels[key]) - bound) > 0


def _check(term: str, key: str, *values: str) -> None:
    if not KEY.fullmatch(key) or not all(VALUE.fullmatch(value) for value in values):
        raise _malformed(term)


def _malformed(term: str) -> ApiError:
    return bad_request(f"unable to parse requirement: found '{term.strip()}', expected a label selector")


def matches_label_selector(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels match a LabelSelector object; none matches nothing, an empty one everything."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for term in selector.get("matchExpressions") or []:
        value, values = labels.get(term["key"]), term.get("values") or []
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held.get(term["operator"], False):
            return False
    return True


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector object as a query parameter would state it."""
    terms = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for term in (selector or {}).get("matchExpressions") or []:
        values = ",".join(sorted(term.get("values") or []))
        terms.append(
            {
                "In": f"{term['key']} in ({values})",
                "NotIn": f"{term['key']} notin ({values})",
                "Exists": term["key"],
                "DoesNotExist": f"!{term['key']}",
            }[term["operator"]]
        )
    return ",".join(terms)


def field_selector(text: str, known: frozenset[str]) -> tuple[Matcher, dict[str, str]]:
    """The selector, and what it requires to be equal. Raises ApiError 400 for fields that are not known."""
    terms: list[tuple[str, str, bool]] = []
    for term in re.split(r"(?<!\\),", text) if text else []:
        parts = re.split(r"(!=|==?)", term, maxsplit=1)
        if len(parts) != 3:
            raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
        name, operator, value = parts[0].strip(), parts[1], _unescaped(parts[2].strip())
        if name not in known:
            raise bad_request(f"field label not supported: {name}")
        terms.append((name, value, operator != "!="))
    equal = {name: value for name, value, wanted in terms if wanted}
    if not terms:
        return everything, equal
    return (
        lambda fields: all((fields.get(name, "") == value) is wanted for name, value, wanted in terms)
    ), equal


def _unescaped(value: str) -> str:
    """Raises ApiError 400 for an equals sign without a backslash, or a backslash before anything else."""
    if stray := re.search(r"[,=]|\\", re.sub(r"\\[\\,=]", "", value)):
        raise bad_request(f"invalid field selector: unescaped character in value: {stray[0]}")
    return re.sub(r"\\([\\,=])", r"\1", value)


def fields_at(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """The values that field selectors see at dotted paths; what is absent counts as empty."""
    out = {}
    for name in names:
        node: Any = document
        for part in name.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None:
            out[name] = _text(node)
    return out


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
