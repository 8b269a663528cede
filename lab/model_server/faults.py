"""What goes wrong on purpose, by kind and rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class Fault(StrEnum):
    """How one request goes wrong; the value is the name of the share in `Faults`."""

    HTTP_500 = "http_500"
    HTTP_503 = "http_503"
    HTTP_429 = "http_429"
    HANG = "hang"
    CUT = "cut"
    EMPTY = "empty"
    WRONG_MODEL = "wrong_model"
    GARBLED = "garbled"
    ENGINE_ERROR = "engine_error"
    STALL = "stall"


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares are per request, in [0, 1]; factors multiply a duration.

    Four lose a request without an HTTP error that a server would count: `hang` (no token ever comes), `stall`
    (none after half of the answer), `cut` (the connection breaks there) and `engine_error` (the engine fails
    there; a stream, whose status is out, ends with an error event, a whole answer is 500).
    `slow_share` of the requests take `slow_factor` times as long, to the first token and between
    tokens. `hidden_metrics` are patterns of metric names that `/metrics` leaves out.
    """

    http_500: float = 0.0
    http_503: float = 0.0
    http_429: float = 0.0
    hang: float = 0.0
    cut: float = 0.0
    empty: float = 0.0
    wrong_model: float = 0.0
    garbled: float = 0.0
    engine_error: float = 0.0
    stall: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    first_token_factor: float = 1.0
    token_factor: float = 1.0
    hidden_metrics: tuple[str, ...] = ()

    def draw(self, chance: float) -> Fault | None:
        """The fault of a request whose uniform random number is `chance`, if any."""
        for fault in Fault:
            chance -= getattr(self, fault)
            if chance < 0:
                return fault
        return None

    def hides(self, metric: str) -> bool:
        """Whether `/metrics` leaves this metric out."""
        return any(fnmatchcase(metric, pattern) for pattern in self.hidden_metrics)

    def changed(self, changes: Mapping[str, Any]) -> Faults:
        """These faults with some fields changed; ValueError names a field that makes no sense."""
        known = {field.name for field in fields(self)}
        checked: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"unknown fault {name!r}; known: {', '.join(sorted(known))}")
            checked[name] = _patterns(value) if name == "hidden_metrics" else _number(name, value)
        merged = replace(self, **checked)
        if sum(getattr(merged, fault) for fault in Fault) > 1 + 1e-9:
            raise ValueError("the shares of faults add up to more than 1")
        return merged


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number >= 0, not {value!r}")
    if not name.endswith("_factor") and value > 1:
        raise ValueError(f"{name} is a share between 0 and 1, not {value!r}")
    return float(value)


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"hidden_metrics must be a list of names, not {value!r}")
    return tuple(value)
