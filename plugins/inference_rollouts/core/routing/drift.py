"""What an object must look like while a rollout claims it, and noticing that it does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.objects.k8s import K8sObject, part, title_of
from inference_rollouts.core.objects.ownership import OWNER
from inference_rollouts.core.routing.claim import Claim, Place, read_claim, read_ending
from inference_rollouts.core.routing.rules import entries_of, names_of, rules_like, rules_of, spelling_of
from inference_rollouts.core.routing.weights import at_percent, carrying, describe, weights_of

_Identity = tuple[str | None, str | None]
"""The name of a rule, and what it matches."""


@dataclass(frozen=True, slots=True)
class Located:
    """A place, and the rule that it is now: where, and what stands there."""

    place: Place
    path: str
    rule: K8sObject


def own_claim(obj: K8sObject, token: str) -> Claim:
    """The claim that the rollout with this token has on an object. Raises ClaimLost when it has none."""
    claim = read_claim(obj)
    if claim is None and (last := read_ending(obj)) and last.token == token:
        why = f": {last.why.rstrip('.')}" if last.why else ""
        raise ClaimLost(f"This run has let {title_of(obj)} go, {last.ending.value}{why}.")
    if claim is None or claim.token != token:
        holder = claim.owner.run if claim else "no rollout"
        raise ClaimLost(
            f"{title_of(obj)} is claimed by {holder}, not by this run; "
            "this run writes nothing more to it and its weights are as they were left."
        )
    return claim


def locate(obj: K8sObject, claim: Claim) -> list[Located]:
    """The rules that a claim means, wherever they are now; those that are gone are left out.

    A rule is known by its name or by what it matches. Where several match alike, ours are as many of them in
    the same order, else those that look as we left them, else those that are where ours were. No rule is two
    of ours.
    """
    located: list[Located] = []
    taken: set[str] = set()
    for (name, matches), places in _surest_first(obj, claim):
        paths = [path for path in rules_like(obj, name, matches) if path not in taken]
        pairs = _paired(places, paths) or _paired(places, _as_left(obj, claim, places[0], paths))
        pairs = pairs or [(place, place.path) for place in places if place.path in paths]
        taken |= {path for _, path in pairs}
        located += [Located(place, path, rules_of(obj)[path]) for place, path in pairs]
    return sorted(located, key=lambda each: claim.places.index(each.place))


def _surest_first(obj: K8sObject, claim: Claim) -> list[tuple[_Identity, list[Place]]]:
    """Places by what they are known by: first whose name is there, last whose name is gone."""
    groups: dict[_Identity, list[Place]] = {}
    for place in claim.places:
        groups.setdefault((place.name, place.matches), []).append(place)
    names = {rule.get("name") for rule in rules_of(obj).values()}

    def doubt(identity: _Identity) -> int:
        name, _ = identity
        return 1 if name is None else 2 * (name not in names)

    return [(each, groups[each]) for each in sorted(groups, key=doubt)]


def _paired(places: Sequence[Place], paths: Sequence[str]) -> list[tuple[Place, str]]:
    """Places and paths in order, if there are as many of both."""
    return list(zip(places, paths, strict=True)) if len(places) == len(paths) else []


def _as_left(obj: K8sObject, claim: Claim, place: Place, paths: Sequence[str]) -> list[str]:
    """The rules among `paths` that look as the last write left `place`."""
    rules = rules_of(obj)
    return [path for path in paths if _is_as_left(obj, Located(place, path, rules[path]), claim)]


def in_order(obj: K8sObject, claim: Claim) -> list[Located]:
    """The rules that a claim means, each as the last write left it. Raises RouteDrift when one is not.

    What others added with weight 0 takes nothing and is no drift.
    """
    located = locate(obj, claim)
    if len(located) < len(claim.places) or not all(_is_as_left(obj, each, claim) for each in located):
        raise _drift(obj, claim, located)
    return located


def untouched(obj: K8sObject, claim: Claim) -> list[Located]:
    """The same, and each entry that gets requests, or may get them next, means what it meant.

    For whoever goes on; raises RouteDrift when one does not. The way back needs no more than that our weights
    stand there.
    """
    located = in_order(obj, claim)
    for each in located:
        wanted = expected_entries(obj, each.place, claim)
        if other := _other_meanings(obj, entries_of(obj, each.rule), wanted, claim):
            name, *rest = other[0]
            what = ", ".join(f"{key} {value}" for key, value in zip(_MEANING, rest, strict=True) if value)
            by = ", ".join(writers(obj)) or "an unknown field manager"
            raise RouteDrift(
                f"{title_of(obj)} was changed by {by}: {name} means another backend now ({what}). Its "
                f"weights are as this rollout had set them, {describe(wanted, spelling_of(obj))}."
            )
    return located


_Meaning = tuple[str, ...]
"""What an entry means: its name, and what else says which object that is."""


def _other_meanings(
    obj: K8sObject, live: Sequence[K8sObject], wanted: Sequence[K8sObject], claim: Claim
) -> list[_Meaning]:
    """What entries mean that is not wanted: those with requests, and our two where none means the same."""
    here, ours = _meanings(obj, live), (claim.stable, claim.canary)
    carrying_now = {each for each, weight in here if weight}
    other = carrying_now - {each for each, weight in _meanings(obj, wanted) if weight}
    for meant, _ in _meanings(obj, wanted):
        namesakes = {each for each, _ in here if each[0] == meant[0]}
        if meant[0] in ours and meant not in namesakes:
            other |= namesakes
    return sorted(other)


def _meanings(obj: K8sObject, entries: Sequence[K8sObject]) -> list[tuple[_Meaning, int]]:
    own, spelling = {"namespace": obj["metadata"].get("namespace", "")}, spelling_of(obj)
    return [
        ((entry[spelling.name], *(str(entry.get(key, own.get(key, ""))) for key in _MEANING)), weight)
        for entry, weight in zip(entries, weights_of(entries, spelling), strict=True)
    ]


_MEANING = ("group", "kind", "namespace")
"""The fields of a backendRef that say, beside its name, which object it is."""


def is_as_found(obj: K8sObject, claim: Claim) -> bool:
    """Whether every rule that the rollout found is there again with its weights as found."""
    located = locate(obj, claim)
    return len(located) == len(claim.places) and all(
        _same_weights(obj, each.rule, each.place.found) and _filters_as_found(each, claim) for each in located
    )


def strays(obj: K8sObject, claim: Claim) -> list[Located]:
    """What others made of a rule of ours that is gone: rules that we do not know, with both our pools.

    One that matches something else now, or was split in two, or merged. Where all of ours are there a rule
    like them is somebody else's.
    """
    located = locate(obj, claim)
    gone = [place for place in claim.places if place not in [each.place for each in located]]
    known, spelling = {each.path for each in located}, spelling_of(obj)
    return [
        Located(gone[0], path, rule)
        for path, rule in rules_of(obj).items()
        if gone and path not in known
        if {claim.stable, claim.canary} <= set(names_of(entries_of(obj, rule), spelling))
    ]


def leads_to(obj: K8sObject, claim: Claim, name: str) -> bool:
    """Whether a rule of ours, or what others made of it, sends requests to `name` now."""
    rules = [each.rule for each in (*locate(obj, claim), *strays(obj, claim))]
    return any(name in carrying(entries_of(obj, rule), spelling_of(obj)) for rule in rules)


def may_be_astray(obj: K8sObject, claim: Claim) -> bool:
    """Whether a rule that the rollout moves is gone, and one that it does not know leads to the canary."""
    located = locate(obj, claim)
    known = {each.path for each in located}
    others = (rule for path, rule in rules_of(obj).items() if path not in known)
    led = any(claim.canary in carrying(entries_of(obj, rule), spelling_of(obj)) for rule in others)
    return len(located) < len(claim.places) and led


def expected_entries(obj: K8sObject, place: Place, claim: Claim) -> list[dict[str, Any]]:
    """What a rule's weighted list must be, given what the rollout wrote last."""
    return at_percent(place.found, claim.stable, claim.canary, claim.percent, spelling_of(obj))


def own_mirror(place: Place, claim: Claim) -> dict[str, Any] | None:
    """The filter that the rollout has among those of a rule while it mirrors, whatever stands beside it."""
    if not claim.mirror:
        return None
    mirror = {"backendRef": mirrored_to(place, claim), "percent": claim.mirror}
    return {"type": "RequestMirror", "requestMirror": mirror}


def filters_of(rule: K8sObject) -> list[dict[str, Any]]:
    """A rule's filters."""
    return list(rule.get("filters") or ())


def mirrors(filters: Iterable[K8sObject], place: Place, claim: Claim) -> list[bool]:
    """Which of these filters mirror to the canary."""
    ours = mirrored_to(place, claim)
    return [part(each, "requestMirror", "backendRef") == ours for each in filters]


def mirrored_to(place: Place, claim: Claim) -> dict[str, Any]:
    """The canary as a plain reference, without what else a weighted one has."""
    stable = next(entry for entry in place.found if entry["name"] == claim.stable)
    plain = {key: value for key, value in stable.items() if key not in ("weight", "filters")}
    return plain | {"name": claim.canary}


def altered(obj: K8sObject, claim: Claim, wanted: str) -> RouteDrift:
    """The error of a write that the cluster took, and made something else of."""
    now = _described(obj, [entries_of(obj, each.rule) for each in locate(obj, claim)]) or "gone"
    return RouteDrift(
        f"A webhook or policy of the cluster changes what this rollout writes to {title_of(obj)}: it makes "
        f"{now} of {wanted}. Exempt the field manager {OWNER} from it."
    )


def is_let_go(obj: K8sObject, claim: Claim) -> bool:
    """Whether a write that was to put everything back has done so."""
    return not leads_to(obj, claim, claim.canary) and (claim.alarm or is_as_found(obj, claim))


def weights_now(obj: K8sObject, claim: Claim) -> str:
    """What the rollout has set, for people."""
    return _described(obj, [expected_entries(obj, place, claim) for place in claim.places])


def weights_found(obj: K8sObject, claim: Claim) -> str:
    """What the rollout found, for people."""
    return _described(obj, [place.found for place in claim.places])


def writers(obj: K8sObject, ours: str = OWNER) -> list[str]:
    """Field managers other than `ours` that own parts of the object's spec, the latest first."""
    entries = [
        entry
        for entry in obj["metadata"].get("managedFields", ())
        if entry.get("manager") != ours and "f:spec" in entry.get("fieldsV1", {})
    ]
    entries.sort(key=lambda entry: entry.get("time", ""), reverse=True)
    return list(dict.fromkeys(entry["manager"] for entry in entries))


def _is_as_left(obj: K8sObject, each: Located, claim: Claim) -> bool:
    mirror = own_mirror(each.place, claim)
    mirrored = mirror is None or filters_of(each.rule).count(mirror) == 1
    return mirrored and _same_weights(obj, each.rule, expected_entries(obj, each.place, claim))


def _filters_as_found(each: Located, claim: Claim) -> bool:
    """Whether it is mirrored to the canary no more than it was."""
    if not claim.mirror:
        return True
    now, found = (
        sum(mirrors(f, each.place, claim)) for f in (filters_of(each.rule), each.place.filters or ())
    )
    return now <= found


def _same_weights(obj: K8sObject, rule: K8sObject, wanted: Sequence[K8sObject]) -> bool:
    """Whether a rule splits its requests as `wanted` does; entries that get nothing do not matter."""
    return carried(obj, entries_of(obj, rule)) == carried(obj, wanted)


def carried(obj: K8sObject, entries: Sequence[K8sObject]) -> list[tuple[str, int]]:
    """The names and weights of the entries that get requests, in any order, one listed twice twice."""
    spelling = spelling_of(obj)
    pairs = zip(names_of(entries, spelling), weights_of(entries, spelling), strict=True)
    return sorted((name, weight) for name, weight in pairs if weight)


def _drift(obj: K8sObject, claim: Claim, located: Sequence[Located]) -> RouteDrift:
    here = {each.place.path: each for each in located}
    place = next(
        place
        for place in claim.places
        if place.path not in here or not _is_as_left(obj, here[place.path], claim)
    )
    each = here.get(place.path)
    now = _described(obj, [entries_of(obj, each.rule)]) if each else "gone"
    if each and _same_weights(obj, each.rule, expected_entries(obj, place, claim)):
        now += " (but the mirror is gone or changed)"
    others = ", ".join(writers(obj)) or "an unknown field manager"
    return RouteDrift(
        f"{title_of(obj)} was changed by {others}: its weights are {now} where this rollout had set "
        f"{_described(obj, [expected_entries(obj, place, claim)])}. They are left as they are; "
        f"as found they were {_described(obj, [place.found])}."
    )


def _described(obj: K8sObject, lists: Sequence[Sequence[K8sObject]]) -> str:
    return "; ".join(dict.fromkeys(describe(entries, spelling_of(obj)) for entries in lists))
