"""The rules of an object that have a weighted list: where they are, and how one is known again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.weights import SPELLINGS, Spelling


def spelling_of(obj: K8sObject) -> Spelling:
    """How this kind of object writes weights."""
    return SPELLINGS[obj["kind"]]


def rules_of(obj: K8sObject) -> dict[str, K8sObject]:
    """The parts of an object that have a weighted list, by JSON pointer, in order."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "InferenceModel":
        return {"/spec": spec}
    return {f"/spec/rules/{i}": rule for i, rule in enumerate(spec.get("rules") or ())}


def entries_of(obj: K8sObject, rule: K8sObject) -> list[dict[str, Any]]:
    """A rule's weighted list."""
    return list(rule.get(spelling_of(obj).field) or ())


def matches_of(rule: K8sObject) -> str | None:
    """What a rule matches, as canonical JSON; None where rules match nothing (an InferenceModel)."""
    matches = rule.get("matches")
    return None if matches is None else json.dumps(matches, sort_keys=True, separators=(",", ":"))


def rules_like(obj: K8sObject, name: str | None, matches: str | None) -> list[str]:
    """JSON pointers: of the rule called `name`, which is unique, else of all that match the same."""
    rules = rules_of(obj)
    named = [path for path, rule in rules.items() if name is not None and rule.get("name") == name]
    return named or [path for path, rule in rules.items() if matches_of(rule) == matches]


def names_of(entries: Sequence[K8sObject], spelling: Spelling) -> list[str]:
    """What the entries of a list send requests to, in order."""
    return [entry[spelling.name] for entry in entries]
