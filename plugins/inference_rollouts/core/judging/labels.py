"""The labels of raw series, which name them, and answers as such labels and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from sys import intern
from typing import overload


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


class Samples(Sequence[tuple[Labels, float]]):
    """The samples of an answer. `labels` are one object as long as answers show the same series."""

    __slots__ = ("labels", "values")

    def __init__(self, labels: tuple[Labels, ...], values: Sequence[float]) -> None:
        self.labels = labels
        self.values = values

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, place: int) -> tuple[Labels, float]: ...
    @overload
    def __getitem__(self, place: slice) -> Samples: ...
    def __getitem__(self, place: int | slice) -> tuple[Labels, float] | Samples:
        if isinstance(place, slice):
            return Samples(self.labels[place], self.values[place])
        return self.labels[place], self.values[place]

    def __iter__(self) -> Iterator[tuple[Labels, float]]:
        return zip(self.labels, self.values, strict=True)
