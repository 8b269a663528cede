"""Session stickiness: where a gateway keeps a client at the backend that it had first, and what that does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, part, parts, title_of
from inference_rollouts.core.routing.rules import rules_of

EFFECT = (
    "clients stay with the pool that they had first, so that the share in force follows sessions that begin, "
    "not requests: after a raise it comes late, on the way back clients may stay until their sessions end, "
    "and requests of a session are no independent evidence"
)
ADVICE = "Take it away while the rollout runs, or give steps a bake as long as sessions last"
_GKE = "GCPSessionAffinity"  # GKE's kinds for it begin so
_FIELDS = ("sessionAffinity", "sessionPersistence", "consistentHash", "stickySession")


def of_route(route: K8sObject, paths: Iterable[str]) -> Iterator[str]:
    """A sentence for each of these rules (by JSON pointer) with `sessionPersistence`, or GKE's filter."""
    rules = rules_of(route)
    for path in paths:
        rule = rules.get(path, {})
        filters = [str(part(each, "extensionRef").get("kind", "")) for each in parts(rule, "filters")]
        found = [each for each in filters if each.startswith(_GKE)]
        if persistence := part(rule, "sessionPersistence"):
            found.append(f"sessionPersistence ({persistence.get('type') or 'Cookie'})")
        if found:
            where = f"Rule {path.rsplit('/', 1)[1]} of {title_of(route)}"
            yield f"{where} has {' and '.join(found)}: {EFFECT}. {ADVICE}."


def of_policy(policy: K8sObject) -> str:
    """The sentence of a policy that keeps clients at a backend; empty for any other.

    So do GCPBackendPolicy by `sessionAffinity`, GCPSessionAffinityPolicy as a whole, DestinationRule by
    `consistentHash`, and BackendLBPolicy by `sessionPersistence`.
    """
    found = next(_sticky(part(policy, "spec")), "")
    if policy["kind"].startswith(_GKE):
        found = found or "its spec"
    if not found:
        return ""
    return f"{title_of(policy)} keeps clients where they were ({found}): {EFFECT}. {ADVICE}."


def _sticky(value: Any) -> Iterator[str]:
    """The fields, anywhere in a spec, that do so."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            off = not each or part(each).get("type") in ("NONE", "None")
            if key in _FIELDS and not off:
                yield key
            yield from _sticky(each)
    elif isinstance(value, list):
        for each in value:
            yield from _sticky(each)
