"""What became of a plan's versions: remembered on the cluster, so that a bad one is not tried every night."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from inference_rollouts.core.values import Value
from inference_rollouts.core.versions.version import Version

LONGEST = 200  # fates of one plan: 200 of them are far below what a ConfigMap holds
WORDS = 300  # characters of a reason that are kept


class Became(StrEnum):
    """What became of a version."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


class Allowed(Value):
    """A person's word that a version which was rolled back may be rolled out again."""

    by: str
    because: str
    at: float


class Fate(Value):
    """What became of a version in one `run`, when (Unix seconds) and why."""

    version: Version
    became: Became
    run: str
    at: float
    why: Annotated[str, Field(max_length=WORDS)] = ""
    allowed: Allowed | None = None

    @property
    def key(self) -> tuple[str, str, float]:
        """What makes it another one: it may be told more than once."""
        return self.version.identity, self.run, self.at


class Memory(Value):
    """The fates of a plan's versions, in the order in which they came."""

    fates: tuple[Fate, ...] = ()

    def with_(self, told: Iterable[Fate]) -> Memory:
        """With those that were not known yet. The oldest are forgotten, those that still refuse last."""
        known = {fate.key for fate in self.fates}
        fates = sorted([*self.fates, *(fate for fate in told if fate.key not in known)], key=lambda f: f.at)
        while len(fates) > LONGEST:
            fates.remove(next((fate for fate in fates if not _refuses(fate)), fates[0]))
        return Memory(fates=tuple(fates))

    def allow(self, version: Version, allowed: Allowed) -> Memory:
        """A version that was rolled back may be rolled out again."""
        return Memory(
            fates=tuple(
                fate.model_copy(update={"allowed": allowed})
                if fate.version.identity == version.identity and _refuses(fate)
                else fate
                for fate in self.fates
            )
        )

    def refused(self, version: Version, but: str = "") -> Fate | None:
        """The last rollback of a version that nobody has allowed since; of other runs than `but`."""
        mine = (fate for fate in reversed(self.fates) if fate.version.identity == version.identity)
        last = next((fate for fate in mine if fate.run != but), None)
        return last if last and _refuses(last) else None

    @property
    def last_promoted(self) -> Version | None:
        """What this plan promoted last."""
        promoted = (fate.version for fate in reversed(self.fates) if fate.became is Became.PROMOTED)
        return next(promoted, None)

    @property
    def promoted(self) -> frozenset[str]:
        """The identities of all versions whose last fate it was to be promoted."""
        last = {fate.version.identity: fate.became for fate in self.fates}
        return frozenset(identity for identity, became in last.items() if became is Became.PROMOTED)


def _refuses(fate: Fate) -> bool:
    return fate.became is Became.ROLLED_BACK and fate.allowed is None
