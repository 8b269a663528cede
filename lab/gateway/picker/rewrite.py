"""Which model a request is really for, by rewrites or older InferenceModels. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from lab.kube.clock import created
from lab.kube.objects import Obj


@dataclass(frozen=True, slots=True)
class Decision:
    """The model to ask for, and the name of the rewrite that said so (None: as the client asked)."""

    model: str
    rewrite: str | None = None


def decide(rewrites: Iterable[Obj], pool: str, model: str, chance: Random) -> Decision:
    """Apply the rewrites of `pool`: exact matches before catch-alls, then the oldest, one by weight.

    InferenceModels count where no rewrite matches.
    """
    candidates = sorted(
        (
            (_rank(rewrite, rule), created(rewrite), number, rewrite["metadata"]["name"], rule)
            for rewrite in rewrites
            if rewrite["spec"]["poolRef"]["name"] == pool
            for number, rule in enumerate(_rules(rewrite))
            if _matches(rule, model)
        ),
        key=lambda each: each[:3],
    )
    if not candidates or not candidates[0][4].get("targets"):
        return Decision(model)
    _, _, _, name, rule = candidates[0]
    return Decision(_draw(rule["targets"], chance), name)


def _rules(thing: Obj) -> list[Obj]:
    """The rules of a rewrite; an InferenceModel is one, for its own name."""
    spec = thing["spec"]
    if thing.get("kind") != "InferenceModel":
        return list(spec.get("rules") or [])
    listed = spec.get("targetModels") or []
    targets = [
        {"modelRewrite": each["name"]} | {k: each[k] for k in each if k == "weight"} for each in listed
    ]
    return [{"matches": [{"model": {"value": spec["modelName"]}}], "targets": targets}]


def _rank(thing: Obj, rule: Obj) -> tuple[bool, bool]:
    return thing.get("kind") == "InferenceModel", not rule.get("matches")


def _matches(rule: Obj, model: str) -> bool:
    matches = rule.get("matches") or []
    return not matches or any(each["model"]["value"] == model for each in matches)


def _draw(targets: Sequence[Obj], chance: Random) -> str:
    """Targets without a weight share evenly, but get nothing beside targets with one."""
    weighted = [each for each in targets if "weight" in each]
    chosen = weighted or list(targets)
    weights = [each.get("weight", 1) for each in chosen]
    model: str = chance.choices(chosen, weights)[0]["modelRewrite"]
    return model
