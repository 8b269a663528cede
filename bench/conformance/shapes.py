"""What two servers said to the same request, compared: all but what a model makes up must be alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

# What differs from model to model, tokenizer to tokenizer and moment to moment: only its type is compared.
FREE = frozenset(
    {"id", "created", "text", "content", "tokens", "count", "prompt_tokens", "total_tokens", "version"}
    | {"system_fingerprint"}
)
ONLY_SIMULATED = frozenset({"simulated"})
# A worker lists a set of modules in any order, and each layer's part of a module that it does not know.
_MODULES = re.compile(r"target modules in \{[^{}]*\} but received \[[^\[\]]*\]")
DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; its body is text, a JSON value, or the list of a stream's events."""

    status: int
    content_type: str | None
    body: Any

    @classmethod
    def read(cls, status: int, content_type: str | None, text: str) -> Reply:
        """An answer as it came over HTTP."""
        kind = (content_type or "").partition(";")[0]
        if kind == "application/json":
            return cls(status, content_type, json.loads(text))
        if kind == "text/event-stream":
            return cls(status, content_type, list(_events(text)))
        return cls(status, content_type, text)


def differences(real: Reply, simulated: Reply, path: str = "") -> list[str]:
    """Where a simulated answer is not like a real one; `path` is the adapter's that was asked for, if any."""
    found = []
    for name in ("status", "content_type"):
        one, other = getattr(real, name), getattr(simulated, name)
        if one != other:
            found.append(f"{name}: {one} is {other}")
    if isinstance(real.body, list) and isinstance(simulated.body, list):
        return [*found, *_unlike(_condensed(real.body), _condensed(simulated.body), "events", path)]
    return [*found, *_unlike(real.body, simulated.body, "body", path)]


def _events(text: str) -> Iterator[Any]:
    for event in text.split("\n\n"):
        if data := event.removeprefix("data: ").strip():
            yield DONE if data == DONE else json.loads(data)


def _condensed(events: list[Any]) -> list[Any]:
    """Choice by choice, of events of one form in a row only the first: how tokens are packed is free."""
    return [next(alike) for _, alike in groupby(sorted(events, key=_choice), key=_form)]


def _choice(event: Any) -> float:
    """The index of the choice that an event is about; those about none come last."""
    choices = event.get("choices") if isinstance(event, dict) else None
    return choices[0]["index"] if choices else math.inf


def _form(value: Any) -> str:
    """A value without what is free."""
    if isinstance(value, dict):
        return repr({key: key in FREE or _form(each) for key, each in sorted(value.items())})
    return repr([_form(each) for each in value]) if isinstance(value, list) else repr(value)


def _unlike(real: Any, simulated: Any, where: str, path: str) -> Iterator[str]:
    if isinstance(real, dict) and isinstance(simulated, dict):
        missing, more = real.keys() - simulated.keys(), simulated.keys() - real.keys() - ONLY_SIMULATED
        yield from (f"{where}.{key}: missing, {real[key]!r}" for key in sorted(missing))
        yield from (f"{where}.{key}: not in a real one" for key in sorted(more))
        for key in real.keys() & simulated.keys():
            if key not in FREE:
                yield from _unlike(real[key], simulated[key], f"{where}.{key}", path)
            elif type(real[key]) is not type(simulated[key]):
                yield f"{where}.{key}: {real[key]!r} is {simulated[key]!r}"
    elif isinstance(real, list) and isinstance(simulated, list):
        if len(real) != len(simulated):
            yield f"{where}: {len(real)} are {len(simulated)}"
        for number, pair in enumerate(zip(real, simulated, strict=False)):
            yield from _unlike(*pair, f"{where}[{number}]", path)
    elif _said(real, path) != _said(simulated, path):
        yield f"{where}: {real!r} is {simulated!r}"


def _said(value: Any, path: str) -> Any:
    """A value without an adapter's path, and without the names of modules."""
    if not isinstance(value, str):
        return value
    return _MODULES.sub("modules", value.replace(path, "<path>") if path else value)
