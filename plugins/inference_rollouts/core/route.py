"""An HTTPRoute's weights: finding the rule, the patches that move it, and noticing other hands.

A rollout owns the weights of one rule's backendRefs and two annotations, nothing else of the route.
Every patch is a JSON patch (RFC 6902) that tests what was read before it changes anything, so a
write that races with somebody else's fails as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import HoldLost, RouteDrift, RouteRefused

HELD_BY = "inference-rollouts.dev/held-by"
RECORD = "inference-rollouts.dev/record"
POOL_GROUPS = frozenset({"inference.networking.k8s.io", "inference.networking.x-k8s.io"})
MAX_BACKENDS = 16  # Gateway API: HTTPRouteRule.backendRefs maxItems

Json = Any
Route = Mapping[str, Any]
Refs = Sequence[Mapping[str, Any]]
Patch = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Record:
    """What the route remembers of the rollout that holds it.

    `found` is the rule's backendRefs exactly as they were before the first write, `percent` the share of
    the canary that the last write set (at Unix time `since`, for `step`); together they say what the rule
    must look like now.
    """

    run: str
    rule: int
    stable: str
    canary: str
    found: tuple[dict[str, Any], ...]
    percent: int = 0
    step: int = 0
    since: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Raises HoldLost when the text is not a record (somebody edited it)."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "found": tuple(fields["found"])})
        except (ValueError, TypeError, KeyError) as error:
            raise HoldLost(
                f"The annotation {RECORD} on the route is unreadable ({error}); its weights are left as they "
                "are. Set them by hand, then remove the annotation."
            ) from error


def pool_name(ref: Mapping[str, Any], namespace: str) -> str | None:
    """The InferencePool that a backendRef names in the route's own namespace, else None."""
    if ref.get("kind") != "InferencePool" or ref.get("group") not in POOL_GROUPS:
        return None
    return ref["name"] if ref.get("namespace", namespace) == namespace else None


def weight_of(ref: Mapping[str, Any]) -> int:
    """A backendRef's weight; the API's default is 1."""
    return int(ref.get("weight", 1))


def select_rule(route: Route, stable: str, rule_name: str | None = None) -> int:
    """Index of the one rule that sends traffic to pool `stable`.

    Raises RouteRefused when no rule or several rules name the pool and the plan does not say which.
    """
    rules, where = _rules(route), _name(route)
    hits = [
        i
        for i, rule in enumerate(rules)
        if any(pool_name(ref, _namespace(route)) == stable for ref in rule.get("backendRefs", ()))
        and (rule_name is None or rule.get("name") == rule_name)
    ]
    if not hits:
        named = f" called {rule_name!r}" if rule_name else ""
        raise RouteRefused(
            f"HTTPRoute {where} has no rule{named} that sends traffic to InferencePool {stable}; "
            "name the pool that serves today as `stable` in the plan."
        )
    if len(hits) > 1:
        raise RouteRefused(
            f"HTTPRoute {where} names InferencePool {stable} in {len(hits)} rules; "
            "set `route.rule` in the plan to the name of the one to move."
        )
    return hits[0]


def check_rule(route: Route, index: int, stable: str, canary: str) -> None:
    """Refuse a rule whose weights cannot be moved safely between exactly two pools."""
    refs, where = _refs(route, index), f"Rule {index} of HTTPRoute {_name(route)}"
    pools = [pool_name(ref, _namespace(route)) for ref in refs]
    others = [ref["name"] for ref, pool in zip(refs, pools, strict=True) if pool is None]
    if others:
        raise RouteRefused(
            f"{where} mixes InferencePools with other backends ({', '.join(others)}); gateways do not split "
            "traffic reliably between them. Give the pools a rule of their own."
        )
    if len(set(pools)) < len(pools):
        raise RouteRefused(f"{where} lists the same InferencePool more than once; list each pool once.")
    carrying = [pool for pool, ref in zip(pools, refs, strict=True) if weight_of(ref) > 0]
    if stable not in carrying:
        raise RouteRefused(
            f"{where} gives InferencePool {stable} weight 0, so it is not the stable pool; "
            f"traffic goes to {', '.join(map(str, carrying)) or 'no pool'}."
        )
    if len(carrying) > 1:
        raise RouteRefused(
            f"{where} already splits traffic over several InferencePools ({', '.join(map(str, carrying))}); "
            f"a rollout starts with all of it on one, here {stable}."
        )
    if canary not in pools and len(refs) >= MAX_BACKENDS:
        raise RouteRefused(
            f"{where} has {len(refs)} backendRefs, the most there may be; remove an unused one."
        )


def split(found: Refs, stable: str, canary: str, canary_group: str, percent: int) -> list[dict[str, Any]]:
    """The rule's backendRefs with `percent` % on the canary and the rest on the stable pool.

    At 0 % the stable pool keeps its own weight and the canary is merely attached. All other backends
    carry nothing (`check_rule`) and stay as they are.
    """
    refs = [dict(ref) for ref in found]
    if not any(ref["name"] == canary for ref in refs):
        refs.append({"group": canary_group, "kind": "InferencePool", "name": canary})
    for ref in refs:
        if ref["name"] == canary:
            ref["weight"] = percent
        elif ref["name"] == stable and percent > 0:
            ref["weight"] = 100 - percent
    return refs


def expected_refs(record: Record) -> list[dict[str, Any]]:
    """What the rule's backendRefs must be, given what the rollout wrote last."""
    group = next(ref["group"] for ref in record.found if ref["name"] == record.stable)
    return split(record.found, record.stable, record.canary, group, record.percent)


def read_record(route: Route) -> Record | None:
    """The record of the rollout that holds this route, None when nobody does."""
    text = _annotations(route).get(RECORD)
    return Record.from_json(text) if text is not None else None


def held_record(route: Route, run: str) -> Record:
    """This run's record, its rule found anew; raises HoldLost or RouteDrift when it may not write."""
    record = read_record(route)
    holder = _annotations(route).get(HELD_BY)
    if record is None or holder != run or record.run != run:
        raise HoldLost(
            f"HTTPRoute {_name(route)} is held by {holder or 'no rollout'}, not by {run}; "
            "this run writes nothing more to it and its weights are as the holder left them."
        )
    return replace(record, rule=_locate(route, record))


def attach_patch(route: Route, record: Record) -> Patch:
    """Hold the route, record its weights as found, and add the canary at weight 0: all at once.

    The test of resourceVersion is the fence: a JSON patch cannot test that nobody holds the route, so it
    tests that nobody wrote since it was read and found free.
    """
    version = route["metadata"]["resourceVersion"]
    annotations = route["metadata"].get("annotations")
    start: Patch = [] if annotations else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        *_unchanged(route, record.rule),
        *start,
        _set_annotation(HELD_BY, record.run),
        _set_annotation(RECORD, record.to_json()),
        _set_refs(record.rule, expected_refs(record)),
    ]


def shift_patch(route: Route, record: Record, percent: int, step: int, now: float) -> Patch:
    """Give the canary `percent` % and remember it, if the route is still as this run left it."""
    moved = replace(record, percent=percent, step=step, since=now)
    return [
        *_still_ours(route, record),
        _set_refs(record.rule, expected_refs(moved)),
        _set_annotation(RECORD, moved.to_json()),
    ]


def restore_patch(route: Route, record: Record) -> Patch:
    """Put the rule's backendRefs back exactly as found and let the route go."""
    return [*_still_ours(route, record), _set_refs(record.rule, list(record.found)), *release_patch(route)]


def promote_patch(route: Route, record: Record) -> Patch:
    """Let the route go with its weights as they are, if they are still as this run set them."""
    return [*_still_ours(route, record), *release_patch(route)]


def release_patch(route: Route) -> Patch:
    """Remove our annotations; the route keeps whatever weights it has."""
    ours = [key for key in (HELD_BY, RECORD) if key in _annotations(route)]
    if ours and len(ours) == len(_annotations(route)):
        return [{"op": "remove", "path": "/metadata/annotations"}]
    return [{"op": "remove", "path": _annotation_path(key)} for key in ours]


def is_held_by(route: Route, run: str) -> bool:
    """Whether this run holds the route."""
    return _annotations(route).get(HELD_BY) == run


def carries(route: Route, pool: str) -> bool:
    """Whether any rule of the route sends requests to an InferencePool."""
    refs = (ref for rule in _rules(route) for ref in rule.get("backendRefs") or ())
    return any(pool_name(ref, _namespace(route)) == pool and weight_of(ref) > 0 for ref in refs)


def is_restored(route: Route, record: Record) -> bool:
    """Whether some rule carries exactly the weights that the rollout found."""
    return any(list(rule.get("backendRefs", ())) == list(record.found) for rule in _rules(route))


def writers(route: Route, ours: str) -> list[str]:
    """Field managers other than `ours` that own parts of the route's spec, the latest first."""
    entries = [
        entry
        for entry in route["metadata"].get("managedFields", ())
        if entry.get("manager") != ours and "f:spec" in entry.get("fieldsV1", {})
    ]
    entries.sort(key=lambda entry: entry.get("time", ""), reverse=True)
    return list(dict.fromkeys(entry["manager"] for entry in entries))


def describe(refs: Refs) -> str:
    """Weights for people: `llm-pool 95, llm-pool-version-2 5`."""
    return ", ".join(f"{ref['name']} {weight_of(ref)}" for ref in refs)


def shares(route: Route, rule: int) -> dict[str, float]:
    """Each backend's declared share of the rule's requests, 0 to 1."""
    refs = _refs(route, rule)
    total = sum(map(weight_of, refs)) or 1
    return {ref["name"]: weight_of(ref) / total for ref in refs}


def _locate(route: Route, record: Record) -> int:
    """The rule as this run left it, even when other rules were added or removed before it."""
    expected = expected_refs(record)
    rules = _rules(route)
    same = [i for i, rule in enumerate(rules) if list(rule.get("backendRefs", ())) == expected]
    if record.rule in same:
        return record.rule
    if len(same) == 1:
        return same[0]
    now = describe(_refs(route, record.rule)) if record.rule < len(rules) else "gone"
    others = ", ".join(writers(route, ours="inference-rollouts")) or "an unknown field manager"
    raise RouteDrift(
        f"HTTPRoute {_name(route)} was changed by {others}: its weights are {now} where this rollout had set "
        f"{describe(expected)}. They are left as they are; as found they were {describe(record.found)}."
    )


def _unchanged(route: Route, rule: int) -> Patch:
    uid, spec = route["metadata"]["uid"], _rules(route)[rule]
    return [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": f"/spec/rules/{rule}", "value": spec},
    ]


def _still_ours(route: Route, record: Record) -> Patch:
    held = [
        {"op": "test", "path": _annotation_path(key), "value": _annotations(route)[key]}
        for key in (HELD_BY, RECORD)
    ]
    return [*_unchanged(route, record.rule), *held]


def _set_refs(rule: int, refs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"op": "replace", "path": f"/spec/rules/{rule}/backendRefs", "value": refs}


def _set_annotation(key: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": _annotation_path(key), "value": value}


def _annotation_path(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")


def _annotations(route: Route) -> Mapping[str, str]:
    return route["metadata"].get("annotations") or {}


def _rules(route: Route) -> Sequence[Mapping[str, Any]]:
    return route.get("spec", {}).get("rules") or ()


def _refs(route: Route, index: int) -> Refs:
    return _rules(route)[index].get("backendRefs") or ()


def _name(route: Route) -> str:
    return str(route["metadata"]["name"])


def _namespace(route: Route) -> str:
    return str(route["metadata"].get("namespace", "default"))
