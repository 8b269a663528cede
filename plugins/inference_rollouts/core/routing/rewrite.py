"""What splits an alias between adapters of one pool: an InferenceModelRewrite, or an older InferenceModel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.routing.claim import Place, entries_of, place_of, rules_of
from inference_rollouts.core.routing.weights import MAX_WEIGHT, SPELLINGS, carrying, factor_for, weights_of

MAX_TARGETS = 10  # InferenceModel: targetModels maxItems

Thing = Mapping[str, Any]


def splits_alias(thing: Thing, pool: str, alias: str) -> tuple[str, ...]:
    """JSON pointers of the rules by which an object decides what a pool answers for `alias` with."""
    if thing["spec"].get("poolRef", {}).get("name") != pool:
        return ()
    if thing["kind"] == "InferenceModel":
        return ("/spec",) if thing["spec"]["modelName"] == alias else ()
    return tuple(path for path, rule in rules_of(thing).items() if alias in _models(rule))


def select_target(things: Sequence[Thing], pool: str, alias: str, stable: str) -> tuple[Thing, Place]:
    """The one object, and its rule, that sends `alias` to `stable`. Raises RouteRefused if unclear."""
    hits = [(thing, path) for thing in things for path in splits_alias(thing, pool, alias)]
    if len(hits) != 1:
        names = ", ".join(f"{thing['kind']} {thing['metadata']['name']}" for thing, _ in hits)
        raise RouteRefused(
            f"{alias} of InferencePool {pool} is split by {names}; leave one of them."
            if hits
            else f"Nothing rewrites {alias} in InferencePool {pool}. Create an InferenceModelRewrite "
            f"with a rule that matches model {alias} and has the one target {stable}."
        )
    thing, path = hits[0]
    spelling = SPELLINGS[thing["kind"]]
    if stable not in carrying(entries_of(thing, rules_of(thing)[path]), spelling):
        raise RouteRefused(
            f"{thing['kind']} {thing['metadata']['name']} does not send {alias} to {stable}; "
            "name the adapter that serves today as `stable` in the plan."
        )
    return thing, place_of(thing, path)


def answering(things: Sequence[Thing]) -> dict[str, str]:
    """The models and adapters that objects send requests to, and which object does."""
    return {
        name: f"{thing['kind']} {thing['metadata']['name']}"
        for thing in things
        if thing["kind"] in SPELLINGS
        for rule in rules_of(thing).values()
        for name in _answering(thing, rule)
    }


def check_target(thing: Thing, place: Place, stable: str, canary: str) -> None:
    """Refuse a rule whose weights cannot be moved safely from `stable` to `canary`."""
    where, spelling = f"{thing['kind']} {thing['metadata']['name']}", SPELLINGS[thing["kind"]]
    names = [entry[spelling.name] for entry in place.found]
    if len(set(names)) < len(names):
        raise RouteRefused(f"{where} lists the same target more than once; list each once.")
    if canary in names:
        raise RouteRefused(f"{where} lists {canary} already; a canary must be one that serves nobody yet.")
    if thing["kind"] == "InferenceModel" and len(names) >= MAX_TARGETS:
        raise RouteRefused(f"{where} has {len(names)} targets, the most there may be; remove one.")
    if max(weights_of(place.found, spelling)) * factor_for(place.found, stable, spelling) > MAX_WEIGHT:
        raise RouteRefused(
            f"{where} has weights too large to be split by percents; divide them by a common number."
        )


def _answering(thing: Thing, rule: Thing) -> list[str]:
    """An InferenceModel without targets sends its own name on."""
    entries = entries_of(thing, rule)
    itself = [thing["spec"]["modelName"]] if thing["kind"] == "InferenceModel" and not entries else []
    return itself or carrying(entries, SPELLINGS[thing["kind"]])


def _models(rule: Thing) -> set[str]:
    return {match["model"]["value"] for match in rule.get("matches") or () if "model" in match}
