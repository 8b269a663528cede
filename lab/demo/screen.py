"""The terminal: a block at the bottom that is painted over, and lines that stay above it."""

import re
import sys
from typing import TextIO

from lab.demo.view import Style

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
ERASE_BELOW = "\x1b[J"


class Screen:
    """Paints a live block where there is a terminal; elsewhere only the lines that stay."""

    def __init__(self, out: TextIO = sys.stdout, *, live: bool, colours: bool, width: int = 100) -> None:
        self.live = live
        self.style = Style(colours)
        self._out = out
        self._width = width
        self._painted: list[str] = []

    def say(self, text: str = "") -> None:
        """A line that stays."""
        below = self._painted
        self._erase()
        print(text, file=self._out)
        self.paint(below)
        self._out.flush()

    def paint(self, lines: list[str]) -> None:
        """Show this block in place of the last one."""
        if not self.live:
            return
        self._erase()
        self._painted = [fitted(line, self._width) for line in lines]
        self._out.writelines(f"{line}\n" for line in self._painted)
        self._out.flush()

    def keep(self) -> None:
        """Leave the block where it is and go on below it."""
        self._painted = []

    def _erase(self) -> None:
        if self._painted:
            self._out.write(f"\x1b[{len(self._painted)}A\r{ERASE_BELOW}")
        self._painted = []


def fitted(line: str, width: int) -> str:
    """`line` cut to `width` visible characters, so that it never wraps; styles do not count."""
    if len(ESCAPES.sub("", line)) <= width:
        return line
    kept, seen, position = [], 0, 0
    for escape in [*ESCAPES.finditer(line), None]:
        text = line[position : escape.start() if escape else len(line)]
        kept.append(text[: max(0, width - seen)])
        seen += len(text)
        if escape:
            kept.append(escape.group())
            position = escape.end()
    return "".join(kept)
