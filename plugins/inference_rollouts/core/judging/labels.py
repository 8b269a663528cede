"""The labels of a raw series, which name it."""

from __future__ import annotations


class Labels(dict[str, str]):
    """Labels by name; never changed, so that a series can be looked up by them, quickly and often."""

    __slots__ = ("_hash",)

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash: int = hash(frozenset(self.items()))
            return self._hash
