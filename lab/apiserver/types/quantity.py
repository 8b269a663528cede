"""Kubernetes quantities: `0.5`, `500m`, `16Gi`, `1e3`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

PATTERN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))((?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?)")
BINARY: dict[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def amount(text: str) -> Decimal:
    """The number that a quantity stands for. Raises ValueError."""
    matched = PATTERN.fullmatch(text)
    if not matched:
        raise ValueError(f"not a quantity: {text!r}")
    number, suffix = Decimal(matched[1]), str(matched[2])
    if suffix in BINARY:
        return number * Decimal(BINARY[suffix])
    if suffix in DECIMAL:
        return number.scaleb(DECIMAL[suffix])
    return number.scaleb(int(suffix[1:]))


def canonical(value: Any) -> str:
    """The one way to write a quantity: no fraction, the largest suffix that allows it. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"not a quantity: {value!r}")
    text = str(value)
    number = amount(text)
    suffix = PATTERN.fullmatch(text)[2]  # type: ignore[index]
    if suffix in BINARY and (abs(number) >= 1024 or number == 0):
        return _with_binary_suffix(int(number.to_integral_value(rounding="ROUND_UP")))
    exponential = suffix[:1] in ("e", "E") and len(suffix) > 1
    return _with_decimal_suffix(number, exponential)


def _with_binary_suffix(whole: int) -> str:
    suffix = ""
    for name, factor in BINARY.items():
        if whole and whole % factor == 0:
            suffix = name
    return f"{whole // BINARY[suffix]}{suffix}" if suffix else str(whole)


def _with_decimal_suffix(number: Decimal, exponential: bool) -> str:
    if number == 0:
        return "0"
    for name, power in reversed(DECIMAL.items()):
        scaled = number.scaleb(-power)
        if scaled == scaled.to_integral_value():
            suffix = f"e{power}" if exponential and power else name if not exponential else ""
            return f"{int(scaled)}{suffix}"
    return f"{int(number.scaleb(9).to_integral_value(rounding='ROUND_UP'))}n"
