"""What an object of the world says of our rule, and what no rollout may change of it."""

from __future__ import annotations

import copy
from fractions import Fraction
from typing import Any

from inference_rollouts.core.errors import ClaimUnreadable
from inference_rollouts.core.routing.claim import CLAIM, ENDING, Claim, read_claim
from inference_rollouts.core.routing.rules import matches_of
from inference_rollouts.core.routing.weights import SPELLINGS, weights_of

STABLE, CANARY = "llm-pool", "new"
SPELLING = SPELLINGS["HTTPRoute"]


def rule(obj: dict[str, Any]) -> dict[str, Any] | None:
    """The rule that moves, wherever it is."""
    rules = obj["spec"]["rules"]
    return next((each for each in rules if each["matches"][0]["path"]["value"] == "/"), None)


def shares(obj: dict[str, Any]) -> dict[str, Fraction]:
    """By backend of the rule that moves: its share, of those that have one."""
    refs = (rule(obj) or {}).get("backendRefs", [])
    weights = weights_of(refs, SPELLING)
    total = sum(weights)
    return {
        each["name"]: Fraction(weight, total) for each, weight in zip(refs, weights, strict=True) if weight
    }


def share(obj: dict[str, Any]) -> Fraction:
    """The canary's share."""
    return shares(obj).get(CANARY, Fraction(0))


def readable(obj: dict[str, Any]) -> Claim | None:
    """The claim on an object; None also where nobody can read it."""
    try:
        return read_claim(obj)
    except ClaimUnreadable:
        return None


def owned(obj: dict[str, Any]) -> Fraction:
    return shares(obj).get(CANARY, Fraction(0)) + shares(obj).get(STABLE, Fraction(0))


def made_of(ours: set[str | None], obj: dict[str, Any]) -> set[str | None]:
    """What our rules match, or where they are gone, those with both pools, which others made of them."""
    rules = obj["spec"]["rules"]
    if any(matches_of(each) in ours for each in rules):
        return ours
    pools = {matches_of(each): {backend["name"] for backend in each["backendRefs"]} for each in rules}
    return {matches for matches, names in pools.items() if {STABLE, CANARY} <= names}


def foreign(obj: dict[str, Any], ours: set[str | None]) -> Any:
    """All of an object that no rollout may change which moves the rules that match `ours`."""
    obj = copy.deepcopy(obj)
    for each in obj["spec"]["rules"]:
        if matches_of(each) in ours:
            each["backendRefs"] = sorted(
                backend["name"]
                for backend in each["backendRefs"]
                if backend["name"] not in (STABLE, CANARY, "other") and not backend.get("weight", 1)
            )
    meta = obj["metadata"]
    notes = {k: v for k, v in meta.get("annotations", {}).items() if k not in (CLAIM, ENDING)}
    return obj["spec"], notes, meta["name"], meta["uid"]
