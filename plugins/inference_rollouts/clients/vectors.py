"""Answers of a metrics store as vectors: all of one is valid, or nothing of it is taken."""

from __future__ import annotations

import re
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec

from inference_rollouts.core.judging.labels import Labels, LabelSets, Samples

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf)|NaN", re.ASCII)
"""A float as Prometheus writes it, in values and in the label `le`."""
PLAIN = b"0123456789.eE+-,"
"""Of these alone, as many numbers of JSON as there are texts are what Prometheus writes."""
PARTIAL = "this answer is partial, as some of its storage does not answer"
KEPT = 600.0  # seconds for which the labels are remembered that a query has shown

Vector = Sequence[dict[str, Any]]
T = TypeVar("T")


class _Value(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A value as Prometheus sends it: a list of its time (Unix seconds), and a text."""

    at: float
    text: str


class _Sample(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    value: _Value


class _Series(msgspec.Struct, gc=False):
    metric: msgspec.Raw
    values: list[_Value]


class _Data(msgspec.Struct, Generic[T]):
    result: list[T]
    resultType: str = ""


class _Answer(msgspec.Struct, Generic[T]):
    data: _Data[T]
    status: str
    warnings: Any = None
    isPartial: Any = None

    @property
    def remarks(self) -> list[Any]:
        """What the store says against its own answer: Prometheus in words, VictoriaMetrics by a mark."""
        said = list(self.warnings) if isinstance(self.warnings, list) else []
        return [*said, PARTIAL] if self.isPartial is True else said


_VECTOR = msgspec.json.Decoder(_Answer[_Sample])
_MATRIX = msgspec.json.Decoder(_Answer[_Series])
_LABELS = msgspec.json.Decoder(dict[str, str])
_NUMBERS = msgspec.json.Decoder(list[float])


class Answered(Sequence[dict[str, Any]]):
    """An instant vector as Prometheus sends it, in the order of labels; as `samples`, for who needs no
    more."""

    def __init__(self, series: LabelSets, values: list[_Value]) -> None:
        self._values = values
        self.samples = Samples(series, _numbers([value.text for value in values]))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, place: Any) -> Any:
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (
            {"metric": labels, "value": (value.at, value.text)}
            for labels, value in zip(self.samples.series.read(), self._values, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """The series that a query has shown: their labels in order, where each of them was, and when.

    A store gives them in one order at one time, and in another at several: each is known by a digest.
    """

    series: LabelSets
    orders: dict[bytes, array[int]]
    at: float


class VectorReader:
    """Reads answers. As long as a query shows the same series their labels are not read again.

    Safe to use from threads. `now` gives seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shown: dict[str, _Shown] = {}
        self._lock = threading.Lock()

    def vector(self, body: bytes, query: str = "") -> tuple[Answered, list[Any]]:
        """The samples of an instant vector, and the store's remarks. Raises ValueError for anything else."""
        answer = _decoded(_VECTOR, body, "vector")
        sent = answer.data.result
        series, order = self._of([each.metric for each in sent], query)
        return Answered(series, [sent[place].value for place in order]), answer.remarks

    def vectors(
        self, body: bytes, start: float, step: float, count: int, query: str = ""
    ) -> tuple[list[Vector], list[Any]]:
        """The same at `start`, `start + step`..., `count` of them, out of a matrix."""
        answer = _decoded(_MATRIX, body, "matrix")
        sent = answer.data.result
        series, order = self._of([each.metric for each in sent], query)
        vectors: list[list[tuple[int, _Value]]] = [[] for _ in range(count)]
        for number, each in enumerate(sent):
            for value in each.values:
                place = round((value.at - start) / step)
                if not 0 <= place < count:
                    raise ValueError("a value at a time that was not asked for")
                vectors[place].append((number, value))
        return [_vector(series, order, values) for values in vectors], answer.remarks

    def _of(self, metrics: list[msgspec.Raw], query: str) -> tuple[LabelSets, Sequence[int]]:
        """The labels of series that a query shows now, in their order, and where each was sent."""
        now, digest = self._now(), sha256(b"".join(metrics)).digest()
        known = self._shown.get(query)
        if known is None or digest not in known.orders:
            known = _shown(tuple(_labels(bytes(each)) for each in metrics), digest, known)
            with self._lock:
                self._forget(before=now - KEPT)
        with self._lock:
            self._shown[query] = replace(known, at=now)
        return known.series, known.orders[digest]

    def _forget(self, before: float) -> None:
        """What queries showed that have not been asked since."""
        for query in [each for each, shown in self._shown.items() if shown.at < before]:
            del self._shown[query]


def _shown(sent: tuple[Labels, ...], digest: bytes, known: _Shown | None) -> _Shown:
    """What is known once a query shows these in this order; the very same series if it showed them before."""
    order = array("I", sorted(range(len(sent)), key=lambda place: sorted(sent[place].items())))
    series = LabelSets.of(sent[place] for place in order)
    if known is None or known.series != series:
        return _Shown(series, {digest: order}, 0.0)
    latest = dict(list(known.orders.items())[-1:])
    return _Shown(known.series, {**latest, digest: order}, 0.0)


def _vector(series: LabelSets, order: Sequence[int], sent: list[tuple[int, _Value]]) -> Vector:
    """One of a matrix, of series by the numbers with which they were sent; all of them, or some."""
    if len(sent) == len(order) and all(number == place for place, (number, _) in enumerate(sent)):
        return Answered(series, [sent[place][1] for place in order])
    values, labels = dict(sent), series.read()
    there = [place for place, number in enumerate(order) if number in values]
    some = [values[order[place]] for place in there]
    return Answered(LabelSets.of(labels[place] for place in there), some)


def _labels(text: bytes) -> Labels:
    try:
        labels = Labels.of(_LABELS.decode(text))
    except msgspec.MsgspecError as error:
        raise ValueError(f"labels that are none: {error}") from error
    if not NUMBER.fullmatch(labels.get("le", "0")):
        raise ValueError(f"a bound that is no number: {labels['le']!r}")
    return labels


def _decoded(decoder: msgspec.json.Decoder[_Answer[T]], body: bytes, kind: str) -> _Answer[T]:
    try:
        answer = decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if answer.status != "success" or answer.data.resultType not in ("", kind):
        raise ValueError(f"no {kind}")
    return answer


def _numbers(texts: list[str]) -> array[float]:
    """Raises ValueError where one is none."""
    joined = ",".join(texts).encode()
    if not joined.translate(None, PLAIN):
        with suppress(msgspec.MsgspecError):
            numbers = _NUMBERS.decode(b"[%b]" % joined)
            if len(numbers) == len(texts):
                return array("d", numbers)
    for text in texts:
        _require_number(text)
    return array("d", map(float, texts))


def _require_number(text: str) -> None:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"a value that is no number: {text!r}")
