"""The five things that a judge can say: apart from how it comes to one, since every task knows them."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """In the order of severity: when several apply, the last one wins."""

    ADVANCE = "advance"
    """The step is good: go on."""
    INCONCLUSIVE = "inconclusive"
    """Not enough time, traffic or evidence yet: observe again."""
    NO_DATA = "no data"
    """The counts are missing, so nothing is known: observe again."""
    ASK = "ask"
    """The deadline has passed, or going back would harm: a person decides."""
    ROLLBACK = "rollback"
    """The canary is worse, or the progress deadline has passed: restore the traffic."""

    @property
    def severity(self) -> int:
        return list(Verdict).index(self)

    @property
    def final(self) -> bool:
        """Whether observing is over."""
        return self not in (Verdict.INCONCLUSIVE, Verdict.NO_DATA)
