"""The patches by which a rollout claims an object, moves its weights and lets it go.

Every one is a JSON patch (RFC 6902) that tests what was read before it changes anything: the object's
identity, the whole claim (its token, its epoch, its state) and each rule that is written. So a write that
races with somebody else's, or with the rollout's own end, fails as a whole. What others put beside our
entries stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from inference_rollouts.core.errors import RouteDrift, RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, title_of
from inference_rollouts.core.routing.claim import (
    CLAIM,
    ENDING,
    LIMIT,
    ROOM,
    Claim,
    Ending,
    LastEnding,
    Permission,
    read_ending,
)
from inference_rollouts.core.routing.drift import (
    Located,
    carried,
    expected_entries,
    filters_of,
    in_order,
    leads_to,
    locate,
    mirrors,
    own_mirror,
    strays,
    untouched,
)
from inference_rollouts.core.routing.rules import entries_of, spelling_of
from inference_rollouts.core.routing.weights import MAX_WEIGHT, at_percent, numbered, totals, with_weights

LARGEST_UNDO = 32 * 1024  # characters of a claim that is left on an object after a promotion
LONGEST_WHY = 1024  # characters of a reason that are left on an object

Patch = list[dict[str, Any]]
Entries = list[dict[str, Any]]


def attach_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Claim the object with its weights as found, the canary at weight 0 where that is legal: all at once.

    The test of resourceVersion is the fence: a JSON patch cannot test that nobody claims the object, so it
    tests that nobody wrote since it was read and was free.

    Raises RouteRefused when an object's rules are too large to be remembered on it. Later a claim may grow:
    nothing that it is to remember keeps traffic from going back.
    """
    text = claim.to_json()
    if (size := len(text.encode())) > LIMIT:
        raise RouteRefused(
            f"The rules that move take {size} bytes, and an annotation has room for {LIMIT}; give the stable "
            "pool a rule of its own."
        )
    others = sum(len(f"{key}{value}".encode()) for key, value in annotations_of(obj).items())
    if others + size > 2 * LIMIT - ROOM:
        raise RouteRefused(
            f"{title_of(obj)} has annotations of {others} bytes, which leave too little room to remember its "
            f"rules ({size} bytes); remove those that nobody needs."
        )
    start: Patch = [] if annotations_of(obj) else [_add("/metadata/annotations", {})]
    return [
        _test("/metadata/resourceVersion", obj["metadata"]["resourceVersion"]),
        *start,
        _add(_annotation(CLAIM), text),
        *_set_rules(obj, claim, claim),
    ]


def shift_patch(obj: K8sObject, claim: Claim, moved: Claim) -> Patch:
    """Give the canary what `moved` says and remember it. Raises RouteDrift unless all is as we left it."""
    untouched(obj, claim)
    return [*_rewrite(obj, moved), *_set_rules(obj, claim, moved)]


def take_back_patch(obj: K8sObject, claim: Claim, before: Claim) -> Patch:
    """Be where `before` says again, after a raise of which the cluster made something else."""

    def entries(each: Located) -> Entries:
        return _merged(obj, each.rule, expected_entries(obj, each.place, before), claim)

    return [*_rewrite(obj, before.with_(mirror=0)), *_each_rule(obj, claim, entries)]


def claim_again_patch(obj: K8sObject, claim: Claim, before: K8sObject) -> Patch:
    """Hold what was just let go, with the claim that it had `before`; weights stay."""
    ending = annotations_of(before).get(ENDING)
    key = _annotation(ENDING)
    return [
        _test("/metadata/uid", obj["metadata"]["uid"]),
        _test(key, annotations_of(obj).get(ENDING)),
        _add(_annotation(CLAIM), claim.to_json()),
        {"op": "remove", "path": key} if ending is None else _add(key, ending),
    ]


def permit_patch(obj: K8sObject, claim: Claim, permission: Permission, next_move_by: float) -> Patch:
    """Remember the verdict that allows the next raise."""
    return _rewrite(obj, claim.with_(verdict=permission, next_move_by=next_move_by))


def wait_patch(obj: K8sObject, claim: Claim, next_move_by: float) -> Patch:
    """Remember that the next move may take until then."""
    return _rewrite(obj, claim.with_(next_move_by=next_move_by))


def command_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Remember what a command makes of the claim. Weights stay."""
    return _rewrite(obj, claim)


def commit_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Remember that promotion is decided. Raises RouteDrift unless all is as we left it."""
    untouched(obj, claim)
    return _rewrite(obj, claim.with_(committed=True))


def return_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Take the rollout over to end it: a new epoch, in which nothing is raised any more. Weights stay."""
    return _rewrite(obj, claim.returning())


def retreat_patch(obj: K8sObject, claim: Claim, kept: int = 0) -> Patch:
    """Take traffic off the canary at once, whatever stands beside it, and begin the way back.

    It keeps `kept` %, which stable cannot take.
    """
    percent = still_kept(claim, kept)
    back = claim.returning().with_(percent=percent, mirror=0, alarm=True)
    return [*_rewrite(obj, back), *_each_rule(obj, claim, lambda each: _pair_at(obj, each, claim, percent))]


def hold_patch(obj: K8sObject, claim: Claim, kept: int) -> Patch:
    """Let the canary keep `kept` % on the way back, while stable cannot take it.

    Raises RouteDrift unless all is as we left it, or an alarm has moved our weights whatever stands beside.
    What others gave to a stable pool that can take nothing (`kept` is 100) is lost, so that goes to the
    canary, too.
    """
    if claim.alarm:
        return retreat_patch(obj, claim, kept)
    held = claim.returning().with_(percent=still_kept(claim, kept), mirror=0)
    try:
        in_order(obj, claim)
    except RouteDrift:
        if kept < 100 or not leads_to(obj, claim, claim.stable):
            raise
        return [*_rewrite(obj, held), *_each_rule(obj, claim, lambda each: _rescued(obj, each, claim))]
    return [*_rewrite(obj, held), *_set_rules(obj, claim, held)]


def still_kept(claim: Claim, kept: int) -> int:
    """What the canary keeps of one object's traffic: never more than it has, or all if only it can serve."""
    return kept if kept == 100 else min(kept, claim.percent)


def restore_patch(obj: K8sObject, claim: Claim, last: LastEnding) -> Patch:
    """Put our weights back as found, whatever stands beside them, and let the object go."""
    back = _each_rule(obj, claim, lambda each: _as_found(obj, each, claim))
    return [*_still_claimed(obj), *back, *_release(obj, last)]


def promote_patch(obj: K8sObject, claim: Claim, last: LastEnding) -> Patch:
    """Let the object go with its weights as they are. Raises RouteDrift unless all is as we left it."""
    tests = [_test(each.path, each.rule) for each in untouched(obj, claim)]
    return [*_still_claimed(obj), *tests, *_release(obj, last)]


def release_patch(obj: K8sObject, last: LastEnding) -> Patch:
    """Let the object go with whatever weights it has."""
    return [*_still_claimed(obj), *_release(obj, last)]


def ending_of(
    claim: Claim,
    ending: Ending,
    now: float,
    why: str = "",
    *,
    untried: bool = False,
    before: LastEnding | None = None,
) -> LastEnding:
    """What is left on an object that a rollout lets go; `before` was left by the one before it.

    A promotion of rules that are too large to stand there for long is not to be undone; where an undo, or a
    rollout since then, was sent back it still is. That a window has closed says nothing of a version, nor
    does one that was `untried`.
    """
    undoable = ending is Ending.PROMOTED and len(claim.to_json()) <= LARGEST_UNDO
    still = before.claim if before and ending is Ending.RESTORED else None
    left = claim.leave_by is not None and now >= claim.leave_by and not claim.alarm
    told = ending is Ending.PROMOTED or not (left or untried or claim.undo)
    return LastEnding(
        token=claim.token,
        ending=ending,
        run=claim.owner.run,
        at=now,
        why=why[:LONGEST_WHY],
        floors=claim.floors,
        claim=claim.with_(floors=(), earlier=()) if undoable else still,
        commands=claim.commands,
        plan=claim.plan,
        version=claim.version if told else "",
        undone=claim.undo and told,
    )


def settled_patch(obj: K8sObject, last: LastEnding) -> Patch:
    """Remember that all floors are back."""
    key = _annotation(ENDING)
    settled = last.model_copy(update={"floors": ()}).model_dump_json(by_alias=True, exclude_none=True)
    return [
        _test("/metadata/uid", obj["metadata"]["uid"]),
        _test(key, annotations_of(obj)[ENDING]),
        _add(key, settled),
    ]


def _set_rules(obj: K8sObject, claim: Claim, moved: Claim) -> Iterator[dict[str, Any]]:
    """The rules as `moved` says, from what `claim` says they are."""
    for each in locate(obj, claim):
        yield _test(each.path, each.rule)
        wanted = expected_entries(obj, each.place, moved)
        yield from _set_entries(obj, each, _merged(obj, each.rule, wanted, claim))
        was, mirror = own_mirror(each.place, claim), own_mirror(each.place, moved)
        if was != mirror:
            rest = [filter for filter in filters_of(each.rule) if filter != was]
            yield _set_filters(each, [*rest, mirror] if mirror else rest)


def _each_rule(
    obj: K8sObject, claim: Claim, entries: Callable[[Located], Entries]
) -> Iterator[dict[str, Any]]:
    """The rules, or what others made of those that are gone, with these entries and without our mirror."""
    for each in (*locate(obj, claim), *strays(obj, claim)):
        yield _test(each.path, each.rule)
        yield from _set_entries(obj, each, entries(each))
        if claim.mirror and (filters := _without_mirror(each, claim)) is not None:
            yield _set_filters(each, filters)


def _set_entries(obj: K8sObject, each: Located, entries: Entries) -> Iterator[dict[str, Any]]:
    if entries != entries_of(obj, each.rule):
        yield {"op": "add", "path": f"{each.path}/{spelling_of(obj).field}", "value": entries}


def _merged(obj: K8sObject, rule: K8sObject, wanted: Sequence[K8sObject], claim: Claim) -> Entries:
    """The list with the weights that are `wanted`; other fields, and entries of others, as they are now.

    Of our own two, one that is not wanted goes, a second entry of it too, and one that is gone comes back at
    its place. What others have taken out stays out.
    """
    spelling, ours, live = spelling_of(obj), (claim.stable, claim.canary), entries_of(obj, rule)
    wants = dict(zip(numbered(wanted, spelling), wanted, strict=True))
    here = dict(zip(numbered(live, spelling), live, strict=True))
    merged = [
        _weighted(entry, wants.get(key, entry))
        for key, entry in here.items()
        if key in wants or key[0] not in ours
    ]
    for place, (key, entry) in enumerate(wants.items()):
        if key[0] in ours and key not in here:
            merged.insert(place, dict(entry))
    return merged


def _weighted(entry: K8sObject, like: K8sObject) -> dict[str, Any]:
    """An entry with the weight of another, or without one."""
    rest = {key: value for key, value in entry.items() if key != "weight"}
    return rest | ({"weight": like["weight"]} if "weight" in like else {})


def _pair_at(obj: K8sObject, each: Located, claim: Claim, percent: int) -> Entries:
    """The list with `percent` % of what stable and canary have together, all entries of them, on the canary;
    others keep theirs.

    Where somebody has given the canary less than that, it is not given more.
    """
    spelling, live = spelling_of(obj), entries_of(obj, each.rule)
    wanted = at_percent(each.place.found, claim.stable, claim.canary, percent, spelling)
    if _is_ours(obj, each, claim):
        return _merged(obj, each.rule, wanted, claim)
    total = totals(live, spelling)
    both = min(MAX_WEIGHT, total[claim.stable] + total[claim.canary])
    moved = both if percent == 100 else min(total[claim.canary], round(both * percent / 100))
    split = {claim.stable: both - moved, claim.canary: moved}
    pair = [entry for entry in wanted if entry[spelling.name] in split]
    return _merged(obj, each.rule, with_weights(pair, split, spelling) if both else pair, claim)


def _rescued(obj: K8sObject, each: Located, claim: Claim) -> Entries:
    """The list with all that our two have together on the canary: as we would set it, if others' are so."""
    spelling, live = spelling_of(obj), entries_of(obj, each.rule)
    wanted = at_percent(each.place.found, claim.stable, claim.canary, 100, spelling)
    ours = claim.stable, claim.canary
    beside, expected = (
        [pair for pair in carried(obj, entries) if pair[0] not in ours] for entries in (live, wanted)
    )
    return _merged(obj, each.rule, wanted, claim) if beside == expected else _pair_at(obj, each, claim, 100)


def _as_found(obj: K8sObject, each: Located, claim: Claim) -> Entries:
    """The list as found where it is as we left it; else only our own two entries go back."""
    if _is_ours(obj, each, claim):
        return _merged(obj, each.rule, each.place.found, claim)
    off = _pair_at(obj, each, claim, 0)
    name = spelling_of(obj).name
    had = any(entry[name] == claim.canary for entry in each.place.found)
    return [entry for entry in off if had or entry[name] != claim.canary]


def _is_ours(obj: K8sObject, each: Located, claim: Claim) -> bool:
    """Whether the rule's own entries have the weights of our last write."""
    name = spelling_of(obj).name
    expected = expected_entries(obj, each.place, claim)
    names = {entry[name] for entry in expected}
    live = [entry for entry in entries_of(obj, each.rule) if entry[name] in names]
    return carried(obj, live) == carried(obj, expected)


def _without_mirror(each: Located, claim: Claim) -> Sequence[dict[str, Any]] | None:
    """The filters without our mirror; None where it is not there."""
    live, ours = filters_of(each.rule), own_mirror(each.place, claim)
    if ours in live:
        return [filter for filter in live if filter != ours]
    rest = [
        filter for filter, is_ours in zip(live, mirrors(live, each.place, claim), strict=True) if not is_ours
    ]
    return rest if len(rest) < len(live) else None


def _set_filters(each: Located, filters: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    path = f"{each.path}/filters"
    had = each.place.filters is not None or bool(filters)
    return _add(path, list(filters or ())) if had else {"op": "remove", "path": path}


def _rewrite(obj: K8sObject, claim: Claim) -> Patch:
    return [*_still_claimed(obj), _add(_annotation(CLAIM), claim.to_json())]


def _still_claimed(obj: K8sObject) -> Patch:
    """The fence: the same object, and its claim to the letter as it was read."""
    return [
        _test("/metadata/uid", obj["metadata"]["uid"]),
        _test(_annotation(CLAIM), annotations_of(obj)[CLAIM]),
    ]


def _release(obj: K8sObject, last: LastEnding) -> Patch:
    """What the rollout before still owes to autoscalers is put back after what this one owes."""
    before = read_ending(obj)
    floors = tuple(dict.fromkeys((*last.floors, *(before.floors if before else ()))))
    text = last.model_copy(update={"floors": floors}).model_dump_json(by_alias=True, exclude_none=True)
    return [{"op": "remove", "path": _annotation(CLAIM)}, _add(_annotation(ENDING), text)]


def _test(path: str, value: Any) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _annotation(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
