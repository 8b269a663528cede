"""Results as rows of values, and as the table in docs/chaos.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.chaos.play import Result


def row(result: Result) -> dict[str, Any]:
    """One result as JSON has it."""
    return {
        "cell": result.cell.name,
        "right": result.cell.end.value,
        "end": str(result.end),
        "seconds": round(result.seconds, 1),
        "unwatched": round(result.unwatched, 1),
        "restoring": None if result.restoring is None else round(result.restoring, 1),
        "lost": result.lost,
        "events": list(result.events),
        "guardian": result.guardian,
        "wrong": list(result.wrong),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """By cell: its end, what clients lost, the longest time unwatched, from alarm to restored, the Events."""
    head = ("fault", "moment", "right end", "end", "lost", "unwatched", "way back", "told")
    lines = [_line(head), _line(["---"] * len(head))]
    for each in rows:
        fault, _, moment = each["cell"].rpartition(" / ")
        lost = ", ".join(f"{n} {cause}" for cause, n in each.get("lost", {}).items()) or "none"
        restoring = "-" if each.get("restoring") is None else f"{each['restoring']:.1f} s"
        unwatched = f"{each.get('unwatched', 0.0):.1f} s"
        told = ", ".join(_counted(each.get("events", ())))
        by = " by the guardian" if each.get("guardian") else ""
        end = each["end"] + by + (f" **({'; '.join(each['wrong'])})**" if each["wrong"] else "")
        lines.append(_line((fault, moment, each["right"], end, lost, unwatched, restoring, told)))
    right = sum(not each["wrong"] for each in rows)
    return "\n".join([f"{right} of {len(rows)} cells ended as they should.", "", *lines])


def needed(rows: Sequence[dict[str, Any]]) -> str:
    """The cells that did not end as they should: those that need what was left out."""
    wrong = [each for each in rows if each["wrong"]]
    lines = [f"- {each['cell']}: {each['end']}; {'; '.join(each['wrong'])}" for each in wrong]
    head = f"Without a guardian {len(wrong)} of the {len(rows)} cells in which it takes part end otherwise:"
    return "\n".join([head, "", *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _counted(events: Sequence[str]) -> list[str]:
    """Reasons in their order; of repeated ones how often."""
    counts = {reason: list(events).count(reason) for reason in dict.fromkeys(events)}
    return [reason if n == 1 else f"{reason} x{n}" for reason, n in counts.items()]
