"""Words that are nobody's business: what command lines and environments have beside names of secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "…"
_SECRET = frozenset({"key", "keys", "token", "secret", "secrets", "password", "passwd", "credentials"})
_SPLIT = re.compile(r"[-_]")
# A flag and its value in one word, as a shell gets its script.
_WITHIN = re.compile(r"(?<!\S)(--?[\w-]+)([=\s\\]+)((?:'[^']*'|\"[^\"]*\"|[^\s'\"])+)")


def is_secret(flag: str) -> bool:
    """Whether the value of a flag is one: `--api-key`, `--hf_token`."""
    return flag.startswith("-") and not _SECRET.isdisjoint(_SPLIT.split(flag.lower()))


def without_secrets(value: Any, key: str = "") -> Any:
    """An object with marks in place of what environments say, and of the values of secret flags."""
    match value:
        case Mapping():
            return {each: without_secrets(inner, each) for each, inner in value.items()}
        case list() | tuple() if key in ("command", "args"):
            return _without_values(value)
        case list() | tuple() if key == "env":
            return [{**each, "value": HIDDEN} if "value" in each else each for each in value]
        case list() | tuple():
            return [without_secrets(each) for each in value]
        case _:
            return value


def _without_values(words: Sequence[Any]) -> list[Any]:
    made: list[Any] = []
    hiding = False
    for word in map(str, words):
        flag, equals, _ = word.partition("=")
        if word.startswith("-"):
            hiding = is_secret(flag)
            made.append(f"{flag}={HIDDEN}" if hiding and equals else word)
        else:
            made.append(HIDDEN if hiding else _WITHIN.sub(_hidden, word))
    return made


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{HIDDEN}" if is_secret(found[1]) else found[0]
