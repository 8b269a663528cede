"""The note of a run: a person's text first, then the rollout's report, within what a note may hold."""

from __future__ import annotations

LIMIT = 1000  # characters that Airflow keeps of a note
MARK = "*Report of the rollout*\n\n"
RULE = "\n\n---\n\n"
CUT = " …"
SHORTEST = 24  # characters to which a line may be cut before lines are left out


def note_with(report: str, note: str | None, *, by_person: bool) -> str | None:
    """The new note of a run, or None when `note` is to stay as it is.

    An earlier report is replaced unless a person wrote since (`by_person`): then all of it is theirs, and
    stays. A report that has no room left beside them is left out.
    """
    theirs = note or ""
    if not by_person and MARK in theirs:
        theirs = theirs.rpartition(MARK)[0].removesuffix(RULE)
    head = f"{theirs}{RULE}{MARK}" if theirs else MARK
    text = shortened(report, LIMIT - len(head))
    new = f"{head}{text}"
    return new if text and new != note else None


def shortened(markdown: str, limit: int) -> str:
    """At most `limit` characters: the longest lines are cut, all to the same width; then lines are left out.

    Rows of a table stay rows. The headline is the last to go; then nothing is left.
    """
    lines = markdown.splitlines()
    while lines:
        longest = max(map(len, lines))
        for width in range(longest, min(longest, SHORTEST) - 1, -1):
            text = "\n".join(_cut(line, width) for line in lines)
            if len(text) <= limit:
                return text
        lines.pop()
    return ""


def _cut(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    end = f"{CUT} |" if line.endswith("|") else CUT
    return line[: width - len(end)] + end
