"""Answers of a metrics store as vectors: all of one is valid, or nothing of it is taken."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import msgspec

from inference_rollouts.core.judging.labels import Labels, Samples

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf)|NaN", re.ASCII)
"""A float as Prometheus writes it, in values and in the label `le`."""
PLAIN = b"0123456789.eE+-"
"""Of these alone Python takes for a float what Prometheus does."""
KEPT = 600.0  # seconds for which the labels are remembered that a query has shown

Vector = Sequence[dict[str, Any]]
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


class Answered(Sequence[dict[str, Any]]):
    """The samples of an instant vector as Prometheus sends them; and as `samples`, for who needs no more."""

    def __init__(self, labels: tuple[Labels, ...], sent: list[_Sample]) -> None:
        self.samples = Samples(labels, _numbers([each.value[1] for each in sent]))
        self._sent = sent

    def __len__(self) -> int:
        return len(self._sent)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return list(self)[place]
        return {"metric": self.samples.labels[place], "value": self._sent[place].value}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (
            {"metric": labels, "value": each.value}
            for labels, each in zip(self.samples.labels, self._sent, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """The series that a query has shown: what tells their labels from others, the labels, and when."""

    digest: bytes
    labels: tuple[Labels, ...]
    at: float


class VectorReader:
    """Reads answers. As long as a query shows the same series their labels are not read again.

    Safe to use from threads. `now` gives seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shown: dict[str, _Shown] = {}
        self._lock = threading.Lock()

    def vector(self, body: bytes, query: str = "") -> tuple[Answered, Any]:
        """The samples of an instant vector, and the store's warnings. Raises ValueError for anything else."""
        answer = _decoded(_VECTOR, body, "vector")
        labels = self._of([each.metric for each in answer.data.result], query)
        return Answered(labels, answer.data.result), answer.warnings

    def vectors(
        self, body: bytes, start: float, step: float, count: int
    ) -> tuple[list[list[dict[str, Any]]], Any]:
        """The same at `start`, `start + step`..., `count` of them, out of a matrix."""
        answer = _decoded(_MATRIX, body, "matrix")
        vectors: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        for series in answer.data.result:
            labels = _labels(bytes(series.metric))
            for value in series.values:
                place = round((value[0] - start) / step)
                if not 0 <= place < count:
                    raise ValueError("a value at a time that was not asked for")
                _require_number(value[1])
                vectors[place].append({"metric": labels, "value": value})
        return vectors, answer.warnings

    def _of(self, metrics: list[msgspec.Raw], query: str) -> tuple[Labels, ...]:
        """The labels of series that a query shows now."""
        now, digest = self._now(), blake2b(b"".join(metrics), digest_size=16).digest()
        known = self._shown.get(query)
        same = known is not None and known.digest == digest
        labels = known.labels if known and same else tuple(_labels(bytes(each)) for each in metrics)
        with self._lock:
            if not same:
                self._forget(before=now - KEPT)
            self._shown[query] = _Shown(digest, labels, now)
        return labels

    def _forget(self, before: float) -> None:
        """What queries showed that have not been asked since."""
        for query in [each for each, shown in self._shown.items() if shown.at < before]:
            del self._shown[query]


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


def _numbers(texts: list[str]) -> list[float]:
    """Raises ValueError where one is none."""
    if "".join(texts).encode().translate(None, PLAIN):
        for text in texts:
            _require_number(text)
    return list(map(float, texts))


def _require_number(text: str) -> None:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"a value that is no number: {text!r}")
