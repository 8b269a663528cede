"""The note of a run: a person's text first, then the rollout's report, within what a note may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_rollouts.core.reporting.text import inert

LIMIT = 1000  # characters that Airflow keeps of a note
MARK = "*Report of the rollout:* "
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


def opening(params: Mapping[str, Any], dag: str, person: str, link: str) -> str:
    """The report of a run that has just begun: what goes from where to where, and where to read on.

    `person` is who triggered it, empty for nobody; `params` are its parameters.
    """
    stable, canary = (inert(str(params.get(side, "?"))) for side in ("stable", "canary"))
    weights = ", ".join(f"{inert(str(weight))} %" for weight in params.get("weights") or ())
    what = "dry run, which writes nothing" if params.get("dry_run") else "started"
    by = f" by {inert(person)}" if person else ""
    return "\n".join(
        [
            f"**{stable} -> {canary}: {what}{by}**",
            "",
            f"Plan: DAG `{dag}`, weights {weights or 'as planned'}. "
            f"[This run]({link}). Where it is: XCom `status` of the task that runs, "
            "or `inference-rollouts watch`.",
        ]
    )


def shortened(markdown: str, limit: int) -> str:
    """At most `limit` characters: the longest lines are cut, all to the same width; then lines are left out.

    Rows of a table stay rows. The first line says the most: it is cut last of all, or there is nothing left.
    """
    first, *rest = markdown.splitlines() or [""]
    while rest:
        longest = max(map(len, rest))
        for width in range(longest, min(longest, SHORTEST) - 1, -1):
            text = "\n".join([first, *(_cut(line, width) for line in rest)])
            if len(text) <= limit:
                return text
        rest.pop()
    return _cut(first, limit) if limit >= min(SHORTEST, len(first)) else ""


def _cut(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    end = f"{CUT} |" if line.endswith("|") else CUT
    return line[: width - len(end)] + end
