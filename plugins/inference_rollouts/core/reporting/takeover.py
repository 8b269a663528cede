"""What the canary has of all that stable has, for people: what needs them comes first."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.objects.takeover import Finding, Verdict
from inference_rollouts.core.reporting.text import inert

MOST = 3  # differences that a sentence names
_ORDER = (Verdict.CANNOT, Verdict.DIFFERS, Verdict.CHANGED, Verdict.TAKEN_OVER)


def table(findings: Sequence[Finding]) -> str:
    """All rows, in markdown: first what differs, of that first what matters to security or clients."""
    lines = ["| object | field | stable | canary | |", "| --- | --- | --- | --- | --- |"]
    for each in sorted(findings, key=_rank):
        cells = each.object, each.field or "whole", each.stable, each.canary, said(each)
        lines.append(f"| {' | '.join(map(inert, cells))} |")
    return "\n".join(lines)


def said(finding: Finding) -> str:
    """The verdict, and why."""
    return f"{finding.verdict} ({finding.why})" if finding.why else str(finding.verdict)


def summary(findings: Sequence[Finding]) -> str:
    """How much is taken over, and what is not, in a line of markup."""
    whole = {each.object for each in findings} - {each.object for each in findings if each.differs}
    differing = sorted((each for each in findings if each.differs), key=_rank)
    counted = f"{len(whole)} of stable's objects are taken over or changed by the plan"
    if not differing:
        return f"{counted}, and nothing else differs."
    more = f"; and {len(differing) - MOST} more" if len(differing) > MOST else ""
    return f"{counted}. {inert('; '.join(map(str, differing[:MOST])))}{more}."


def _rank(finding: Finding) -> tuple[bool, bool, int, str]:
    return not finding.differs, not finding.essential, _ORDER.index(finding.verdict), finding.object
