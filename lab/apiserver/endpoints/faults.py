"""Faults on demand: slow, refused, broken and outdated answers, the same for the same seed and requests."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.apiserver.errors import ApiError, bad_request, expired
from lab.apiserver.types.schema import Object

KINDS = ("latency", "error", "reset-before", "reset-after", "drop-watch", "expired", "stale")
REASONS = {
    403: "Forbidden",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
MESSAGES = {
    429: "the server has received too many requests and has asked us to try again later",
    500: "Internal error occurred: a fault was injected",
    503: "the server is currently unable to handle the request",
    504: "the request timed out: a fault was injected",
}


@dataclass
class Rule:
    """One fault and the requests it befalls.

    `verbs` (empty: all), `path` and `user` (regular expressions, searched) select requests; of these it
    lets `after` pass, then strikes each with probability `share`, `count` times at most. `seconds` is how
    long a latency lasts or a watch lives; `code` and `retry_after` make up an error. A `stale` rule
    answers reads as of resource version `version`, which is the one at which it was set.
    """

    kind: str
    verbs: tuple[str, ...] = ()
    path: str = ""
    user: str = ""
    share: float = 1.0
    count: int | None = None
    after: int = 0
    seconds: float = 0.0
    code: int = 500
    retry_after: int | None = None
    version: int = 0
    seen: int = 0
    struck: int = 0
    chance: random.Random = field(default_factory=random.Random, repr=False)

    def strikes(self, verb: str, path: str, user: str) -> bool:
        """Whether this request is struck; counts it."""
        if self.verbs and verb not in self.verbs:
            return False
        if not re.search(self.path, path) or not re.search(self.user, user):
            return False
        self.seen += 1
        if self.seen <= self.after or self.struck == self.count or self.chance.random() >= self.share:
            return False
        self.struck += 1
        return True

    def error(self) -> ApiError:
        """The answer of an `error` or `expired` rule."""
        if self.kind == "expired":
            return expired("The resourceVersion for the provided watch is too old.")
        message = MESSAGES.get(self.code, "a fault was injected")
        retry = self.retry_after if self.retry_after is not None else (1 if self.code == 429 else None)
        details = {"retryAfterSeconds": retry} if retry is not None else {}
        headers = {"Retry-After": str(retry)} if retry is not None else {}
        return ApiError(self.code, REASONS.get(self.code, "InternalError"), message, details, headers)

    def describe(self) -> Object:
        shown = {key: value for key, value in vars(self).items() if key != "chance"}
        return {**shown, "verbs": list(self.verbs)}


class Faults:
    """The rules in force, in order."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def set(self, plan: Object, version: int) -> None:
        """Replaces all rules by a plan `{"seed": N, "rules": [...]}`. Raises ApiError 400."""
        if not isinstance(plan, dict) or not isinstance(plan.get("rules", []), list):
            raise bad_request("a plan is an object with a list of rules")
        seed, documents = plan.get("seed", 0), plan.get("rules", [])
        self.rules = [_rule(document, f"{seed}/{i}", version) for i, document in enumerate(documents)]

    def clear(self) -> None:
        self.rules = []

    def strike(self, verb: str, path: str, user: str) -> Sequence[Rule]:
        """The rules that strike a request."""
        return [rule for rule in self.rules if rule.strikes(verb, path, user)]

    def describe(self) -> Object:
        return {"rules": [rule.describe() for rule in self.rules]}


def _rule(document: Object, seed: str, version: int) -> Rule:
    if not isinstance(document, dict):
        raise bad_request("a rule must be an object")
    known = {
        **document,
        "verbs": tuple(document.get("verbs", ())),
        "version": document.get("version", version),
    }
    try:
        rule = Rule(**known, chance=random.Random(seed))
        re.compile(rule.path)
        re.compile(rule.user)
    except (TypeError, re.error) as error:
        raise bad_request(f"no fault rule: {error}") from error
    if rule.kind not in KINDS:
        raise bad_request(f"kind must be one of {', '.join(KINDS)}, not {rule.kind!r}")
    if not 0 <= rule.share <= 1 or rule.seconds < 0:
        raise bad_request("share must be between 0 and 1, seconds at least 0")
    return rule
