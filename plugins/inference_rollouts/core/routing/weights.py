"""Weighted lists: how each kind of object spells them, and what they say at a given share.

An HTTPRoute's rule splits requests between pools, an InferenceModelRewrite's rule (on older clusters an
InferenceModel) between models and adapters of one pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject

MAX_WEIGHT = 1_000_000  # Gateway API and Inference Extension: weight's maximum

Entry = Mapping[str, Any]
Entries = Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a kind of object writes a weighted list: its field, and the field that names an entry.

    Where `zero` is legal an entry may stand there with weight 0, and one without a weight has 1. Where it is
    not, an entry without traffic is left out, and one without a weight counts only if none has any.
    """

    field: str
    name: str
    zero: bool


SPELLINGS: Mapping[str, Spelling] = {
    "HTTPRoute": Spelling("backendRefs", "name", zero=True),
    "InferenceModelRewrite": Spelling("targets", "modelRewrite", zero=False),
    "InferenceModel": Spelling("targetModels", "name", zero=False),
}


@dataclass(frozen=True, slots=True)
class Target:
    """An object whose weights a rollout moves."""

    api: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def names(self) -> tuple[str, str]:
        """What people call it: its name, or as kubectl does, with its kind."""
        return self.name, f"{self.kind.lower()}/{self.name}"


def target_of(obj: K8sObject) -> Target:
    """What an object is to those who move it."""
    return Target(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


def weights_of(entries: Entries, spelling: Spelling) -> list[int]:
    """The weight that each entry has in effect."""
    missing = 1 if spelling.zero or not any("weight" in entry for entry in entries) else 0
    return [int(entry.get("weight", missing)) for entry in entries]


def carrying(entries: Entries, spelling: Spelling) -> list[str]:
    """The names that get requests."""
    weights = weights_of(entries, spelling)
    return [entry[spelling.name] for entry, weight in zip(entries, weights, strict=True) if weight > 0]


def factor_for(entries: Entries, stable: str, spelling: Spelling) -> int:
    """What all weights are multiplied by, so that each percent of stable's weight is a whole number.

    1 where only stable carries requests: then stable and canary share 100 between them.
    """
    if carrying(entries, spelling) == [stable]:
        return 1
    return 100 // gcd(100, totals(entries, spelling)[stable])


def totals(entries: Entries, spelling: Spelling) -> Counter[str]:
    """The weight in effect of all entries of a name together."""
    total: Counter[str] = Counter()
    for name, weight in zip(_names(entries, spelling), weights_of(entries, spelling), strict=True):
        total[name] += weight
    return total


def numbered(entries: Entries, spelling: Spelling) -> list[tuple[str, int]]:
    """Each entry's name, and its number among those of that name: those that get requests come first."""
    names, weights = _names(entries, spelling), weights_of(entries, spelling)
    numbers: Counter[str] = Counter()
    keys: dict[int, tuple[str, int]] = {}
    for place in sorted(range(len(names)), key=lambda each: not weights[each]):
        keys[place] = names[place], numbers[names[place]]
        numbers[names[place]] += 1
    return [keys[place] for place in range(len(names))]


def with_weights(entries: Entries, weights: Mapping[str, int], spelling: Spelling) -> list[dict[str, Any]]:
    """The list with these weights by name, one entry of each name having all of it; others as they are."""
    listed = [
        {**entry, "weight": 0 if number else weights[name]} if name in weights else dict(entry)
        for (name, number), entry in zip(numbered(entries, spelling), entries, strict=True)
    ]
    return [entry for entry in listed if spelling.zero or entry.get("weight") != 0]


def at_percent(
    found: Entries, stable: str, canary: str, percent: int, spelling: Spelling
) -> list[dict[str, Any]]:
    """The list with `percent` % of what stable had on the canary, and every other entry's share as found.

    At 0 % everything is as found; where weight 0 is legal the canary stands there with it.
    """
    if percent == 0:
        weights = {canary: 0}
    elif carrying(found, spelling) == [stable]:
        weights = {stable: 100 - percent, canary: percent}
    else:
        weights = _beside_others(found, stable, canary, percent, spelling)
    return with_weights(_with(canary, found, stable, spelling), weights, spelling)


def _beside_others(
    found: Entries, stable: str, canary: str, percent: int, spelling: Spelling
) -> dict[str, int]:
    """The weights that change where others carry requests too: all are multiplied, and keep their shares."""
    factor = factor_for(found, stable, spelling)
    weights = totals(found, spelling)
    whole = weights[stable] * factor
    moved = whole * percent // 100
    others = {name: weight * factor for name, weight in weights.items() if weight}
    return others | {stable: whole - moved, canary: moved}


def _with(canary: str, found: Entries, stable: str, spelling: Spelling) -> list[Entry]:
    """The list with an entry for the canary, if it has none: stable's but for the name, filters and all."""
    if canary in _names(found, spelling):
        return list(found)
    like = next(entry for entry in found if entry[spelling.name] == stable)
    return [*found, {**like, spelling.name: canary, "weight": 0}]


def describe(entries: Entries, spelling: Spelling) -> str:
    """Weights for people: `llm-pool 95, llm-pool-version-2 5`."""
    pairs = zip(_names(entries, spelling), weights_of(entries, spelling), strict=True)
    return ", ".join(f"{name} {weight}" for name, weight in pairs)


def _names(entries: Entries, spelling: Spelling) -> list[str]:
    return [entry[spelling.name] for entry in entries]
