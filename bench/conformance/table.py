"""What agrees and what does not, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SHOWN = 300  # characters of one difference


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was held against the other: how many comparisons it was, and where they disagreed."""

    area: str
    what: str
    compared: int
    found: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not self.found


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The table, and below it every difference."""
    shown = list(rows)
    yield "| area | what | compared | agrees |"
    yield "| --- | --- | --- | --- |"
    for row in shown:
        verdict = "yes" if row.agrees else f"no: {len(row.found)} differences"
        yield f"| {row.area} | {row.what} | {row.compared} | {verdict} |"
    for row in shown:
        for each in row.found:
            yield f"{row.area}, {row.what}: {each[:SHOWN]}"


def compared(area: str, real: dict[str, object], simulated: dict[str, object]) -> Iterator[Row]:
    """A row for each thing that was observed of both servers."""
    for what, one in real.items():
        other = simulated[what]
        found = [] if one == other else [f"real: {one!r}; simulated: {other!r}"]
        yield Row(area, what, 1, found)
