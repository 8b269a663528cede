"""What splits an alias between adapters of one pool: an InferenceModelRewrite, or an older InferenceModel."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject, part, parts
from inference_rollouts.core.routing.claim import Place, place_of
from inference_rollouts.core.routing.rules import entries_of, rules_of
from inference_rollouts.core.routing.weights import MAX_WEIGHT, SPELLINGS, carrying, factor_for, weights_of

MAX_TARGETS = 10  # InferenceModel: targetModels maxItems


def splits_alias(obj: K8sObject, pool: str, alias: str) -> tuple[str, ...]:
    """JSON pointers of the rules by which an object decides what a pool answers for `alias` with."""
    if obj["spec"].get("poolRef", {}).get("name") != pool:
        return ()
    if obj["kind"] == "InferenceModel":
        return ("/spec",) if obj["spec"]["modelName"] == alias else ()
    return tuple(path for path, rule in rules_of(obj).items() if alias in _models(rule))


def select_target(
    objects: Sequence[K8sObject], pool: str, alias: str, stable: str
) -> tuple[K8sObject, Place]:
    """The one object, and its rule, that sends `alias` to `stable`. Raises RouteRefused if unclear."""
    hits = [(obj, path) for obj in objects for path in splits_alias(obj, pool, alias)]
    if len(hits) != 1:
        names = ", ".join(f"{obj['kind']} {obj['metadata']['name']}" for obj, _ in hits)
        raise RouteRefused(
            f"{alias} of InferencePool {pool} is split by {names}; leave one of them."
            if hits
            else f"Nothing rewrites {alias} in InferencePool {pool}. Create an InferenceModelRewrite "
            f"with a rule that matches model {alias} and has the one target {stable}."
        )
    obj, path = hits[0]
    spelling = SPELLINGS[obj["kind"]]
    if stable not in carrying(entries_of(obj, rules_of(obj)[path]), spelling):
        raise RouteRefused(
            f"{obj['kind']} {obj['metadata']['name']} does not send {alias} to {stable}; "
            "name the adapter that serves today as `stable` in the plan."
        )
    return obj, place_of(obj, path)


def serving_models(objects: Sequence[K8sObject], pool: str, alias: str) -> set[str]:
    """What a pool answers for `alias` with, by the objects that split it."""
    return {
        name
        for obj in objects
        for path in splits_alias(obj, pool, alias)
        for name in _answering(obj, rules_of(obj)[path])
    }


def named_in(obj: K8sObject, name: str) -> bool:
    """Whether an InferenceModelRewrite or InferenceModel sends requests to `name`, or is asked for it."""
    spec, spelling = obj["spec"], SPELLINGS[obj["kind"]]
    rules = [spec] if obj["kind"] == "InferenceModel" else spec.get("rules") or ()
    asked = [model for rule in rules for model in _models(rule)]
    sent = [entry[spelling.name] for rule in rules for entry in rule.get(spelling.field) or ()]
    return name in [*asked, *sent, spec.get("modelName")]


def answering(objects: Sequence[K8sObject]) -> dict[str, str]:
    """The models and adapters that objects send requests to, and which object does."""
    return {
        name: f"{obj['kind']} {obj['metadata']['name']}"
        for obj in objects
        if obj["kind"] in SPELLINGS
        for rule in rules_of(obj).values()
        for name in _answering(obj, rule)
    }


def check_target(obj: K8sObject, place: Place, stable: str, canary: str) -> None:
    """Refuse a rule whose weights cannot be moved safely from `stable` to `canary`."""
    where, spelling = f"{obj['kind']} {obj['metadata']['name']}", SPELLINGS[obj["kind"]]
    names = [entry[spelling.name] for entry in place.found]
    if len(set(names)) < len(names):
        raise RouteRefused(f"{where} lists the same target more than once; list each once.")
    if canary in names:
        raise RouteRefused(f"{where} lists {canary} already; a canary must be one that serves nobody yet.")
    if obj["kind"] == "InferenceModel" and len(names) >= MAX_TARGETS:
        raise RouteRefused(f"{where} has {len(names)} targets, the most there may be; remove one.")
    if max(weights_of(place.found, spelling)) * factor_for(place.found, stable, spelling) > MAX_WEIGHT:
        raise RouteRefused(
            f"{where} has weights too large to be split by percents; divide them by a common number."
        )


def _answering(obj: K8sObject, rule: K8sObject) -> list[str]:
    """An InferenceModel without targets sends its own name on."""
    entries = entries_of(obj, rule)
    itself = [obj["spec"]["modelName"]] if obj["kind"] == "InferenceModel" and not entries else []
    return itself or carrying(entries, SPELLINGS[obj["kind"]])


def _models(rule: K8sObject) -> set[str]:
    values = (part(match, "model").get("value") for match in parts(rule, "matches"))
    return {value for value in values if isinstance(value, str)}
