"""The terminal: a block of lines that is painted over; where there is none, lines that stay."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO

CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
BAR = 30


@dataclass(slots=True)
class Screen:
    """Paints over what it painted last, in colours, where `live`; else adds to it, plainly."""

    live: bool
    width: int
    out: TextIO = field(default_factory=lambda: sys.stdout)
    _painted: int = 0

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines in place of the last ones."""
        if self.live and self._painted:
            self.out.write(f"\x1b[{self._painted}A\r\x1b[J")
        self._painted = len(lines)
        self.out.writelines(f"{line}\n" for line in lines)
        self.out.flush()

    def style(self, style: str, text: str) -> str:
        """The text in a colour, where there are any."""
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if self.live and text else text

    def bar(self, done: float) -> str:
        """A bar that is `done` (0 to 1) full."""
        full = round(min(max(done, 0.0), 1.0) * BAR)
        return self.style("cyan", "━" * full) + self.style("dim", "─" * (BAR - full))
