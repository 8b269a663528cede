"""The choice: of all versions that a source has, the newest that may be rolled out now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from inference_rollouts.core.durations import spoken
from inference_rollouts.core.versions.memory import Memory
from inference_rollouts.core.versions.semver import rank
from inference_rollouts.core.versions.version import Version


@dataclass(frozen=True, slots=True)
class Rules:
    """What a version must be.

    `pinned`: known by a digest. `min_age` is in seconds. `after` is the plan that must have promoted it, and
    `promoted` what that has; empty: none must. `memory` is what became of versions in this plan; of `run`
    itself it does not count.
    """

    memory: Memory = field(default_factory=Memory)
    pinned: bool = True
    min_age: float = 0.0
    after: str = ""
    promoted: frozenset[str] = frozenset()
    run: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The version that was chosen, None where none may be; and what was passed over, with the reasons.

    `rolled_back` is when the last of those was that had been rolled back (Unix seconds); 0: none had.
    """

    version: Version | None
    passed_over: tuple[str, ...] = ()
    rolled_back: float = 0.0

    @property
    def sentence(self) -> str:
        """Why nothing is rolled out, or no newer version; empty where there is nothing to say."""
        passed = "; ".join(self.passed_over)
        if self.version:
            return f"Passed over: {passed}." if passed else ""
        return f"There is nothing new that may be rolled out{': ' if passed else ''}{passed}"


def choose(newest_first: Iterable[Version], rules: Rules, now: float) -> Choice:
    """The newest version that may be rolled out at a moment (Unix seconds).

    Nothing that is older than what this plan promoted last: `newest_first` is read no further.
    """
    passed: list[str] = []
    seen: set[str] = set()
    rolled_back = 0.0
    last = rules.memory.last_promoted
    for version in newest_first:
        if version.identity in seen:
            continue
        seen.add(version.identity)
        if last and version.identity == last.identity:
            return Choice(None, (*passed, f"{version.short} was promoted already"), rolled_back)
        if fate := rules.memory.refused(version, but=rules.run):
            rolled_back = max(rolled_back, fate.at)
        if why := obstacle(version, rules, now):
            passed.append(why)
        else:
            return Choice(version, tuple(passed), rolled_back)
    return Choice(None, tuple(passed), rolled_back)


def choose_named(version: Version, rules: Rules, now: float) -> Choice:
    """The same of a version that a person, or an earlier try of the run, chose: age is no matter."""
    why = _unfit(version, replace(rules, min_age=0.0), now)
    return Choice(None, (why,)) if why else Choice(version)


def obstacle(version: Version, rules: Rules, now: float) -> str:
    """Why a version may not be rolled out now; empty where it may."""
    last = rules.memory.last_promoted
    if last and _is_older(version, last):
        return f"{version.short} is older than {last.short}, which was promoted"
    return _unfit(version, rules, now)


def _unfit(version: Version, rules: Rules, now: float) -> str:
    if rules.pinned and not version.digest:
        return f"{version.short} has no digest"
    if fate := rules.memory.refused(version, but=rules.run):
        why = f": {fate.why.rstrip('.')}" if fate.why else ""
        return f"{version.short} was rolled back by {fate.run}{why}"
    if rules.after and version.identity not in rules.promoted:
        return f"{version.short} was not promoted by plan {rules.after}"
    if not rules.min_age:
        return ""
    if version.since is None:
        return f"nobody knows how old {version.short} is, and it must be {spoken(rules.min_age)}"
    age = now - version.since
    if age < rules.min_age:
        return f"{version.short} is {spoken(max(0.0, age))} old, and must be {spoken(rules.min_age)}"
    return ""


def _is_older(version: Version, than: Version) -> bool:
    """By their names, where both are semantic versions; else nobody knows."""
    ours, theirs = rank(version.name), rank(than.name)
    return ours is not None and theirs is not None and ours < theirs
