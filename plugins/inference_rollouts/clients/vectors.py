"""Answers of a metrics store as vectors: all of one is valid, or nothing of it is taken."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import msgspec

from inference_rollouts.core.judging.labels import Labels

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf)|NaN", re.ASCII)
"""A float as Prometheus writes it, in values and in the label `le`."""
KEPT = 100_000  # series whose labels are remembered: those of some thousand pods

Vector = list[dict[str, Any]]
T = TypeVar("T")


class _Sample(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: tuple[float, str]


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    values: list[tuple[float, str]]


class _Data(msgspec.Struct, Generic[T]):
    result: list[T]
    resultType: str = ""


class _Answer(msgspec.Struct, Generic[T]):
    data: _Data[T]
    status: str
    warnings: Any = None


_VECTOR = msgspec.json.Decoder(_Answer[_Sample])
_MATRIX = msgspec.json.Decoder(_Answer[_Series])
_LABELS = msgspec.json.Decoder(dict[str, str])


class VectorReader:
    """Reads answers. The labels of a series are read once; equal ones are one object afterwards."""

    def __init__(self) -> None:
        self._known: dict[bytes, Labels] = {}

    def vector(self, body: bytes) -> tuple[Vector, Any]:
        """The samples of an instant vector, and the store's warnings. Raises ValueError for anything else."""
        answer = _decoded(_VECTOR, body, "vector")
        return [
            {"metric": self._labels(each.metric), "value": _valid(each.value)} for each in answer.data.result
        ], answer.warnings

    def vectors(self, body: bytes, start: float, step: float, count: int) -> tuple[list[Vector], Any]:
        """The same at `start`, `start + step`..., `count` of them, out of a matrix."""
        answer = _decoded(_MATRIX, body, "matrix")
        vectors: list[Vector] = [[] for _ in range(count)]
        for series in answer.data.result:
            labels = self._labels(series.metric)
            for value in series.values:
                place = round((value[0] - start) / step)
                if not 0 <= place < count:
                    raise ValueError("a value at a time that was not asked for")
                vectors[place].append({"metric": labels, "value": _valid(value)})
        return vectors, answer.warnings

    def _labels(self, raw: msgspec.Raw) -> Labels:
        text = bytes(raw)
        known = self._known.get(text)
        if known is None:
            try:
                known = Labels(_LABELS.decode(text))
            except msgspec.MsgspecError as error:
                raise ValueError(f"labels that are none: {error}") from error
            if not NUMBER.fullmatch(known.get("le", "0")):
                raise ValueError(f"a bound that is no number: {known['le']!r}")
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[text] = known
        return known


def _decoded(decoder: msgspec.json.Decoder[_Answer[T]], body: bytes, kind: str) -> _Answer[T]:
    try:
        answer = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if answer.status != "success" or answer.data.resultType not in ("", kind):
        raise ValueError(f"no {kind}")
    return answer


def _valid(value: tuple[float, str]) -> tuple[float, str]:
    text = value[1]
    if not (text.isdigit() and text.isascii()) and not NUMBER.fullmatch(text):
        raise ValueError(f"a value that is no number: {text!r}")
    return value
