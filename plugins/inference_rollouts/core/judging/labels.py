"""The labels of raw series, which name them, and answers as such labels and values."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import overload

import msgspec

READ = 8  # answers whose labels are at hand once they were read
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(list[dict[str, str]])


class Labels(dict[str, str]):
    """Labels by name; never changed, so that a series can be looked up by them, quickly and often."""

    __slots__ = ("_hash",)

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Labels:
        """Labels whose texts are kept once, in however many series they stand."""
        return cls((intern(name), intern(value)) for name, value in labels.items())

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash: int = hash(frozenset(self.items()))
            return self._hash


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The labels of all series of an answer, in order. They are seldom read while answers show the same
    series, and so kept in a twentieth of their room; equal where they are the same.
    """

    packed: bytes

    @classmethod
    def of(cls, labels: Iterable[Mapping[str, str]]) -> LabelSets:
        return cls(zlib.compress(_ENCODER.encode(list(labels)), 1))

    def read(self) -> tuple[Labels, ...]:
        return _read(self.packed)


@lru_cache(maxsize=READ)
def _read(packed: bytes) -> tuple[Labels, ...]:
    return tuple(Labels.of(each) for each in _DECODER.decode(zlib.decompress(packed)))


class Samples(Sequence[tuple[Labels, float]]):
    """The samples of an answer: the labels of its series, and the value of each."""

    __slots__ = ("series", "values")

    def __init__(self, series: LabelSets, values: Sequence[float]) -> None:
        self.series = series
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> tuple[Labels, float]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[Labels, float]]: ...
    def __getitem__(self, place: int | slice) -> tuple[Labels, float] | list[tuple[Labels, float]]:
        if isinstance(place, slice):
            return list(self)[place]
        return self.series.read()[place], self.values[place]

    def __iter__(self) -> Iterator[tuple[Labels, float]]:
        return zip(self.series.read(), self.values, strict=True)
