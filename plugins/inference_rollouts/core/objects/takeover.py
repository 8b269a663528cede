"""What the canary has of all that stable has: one row an object, or a field in which they differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, fields_of, labels_of, part, parts, title_of
from inference_rollouts.core.objects.measured import still_named
from inference_rollouts.core.objects.selectors import Labels, selects, spelled
from inference_rollouts.core.objects.succession import Succession

_SECURITY_KINDS = re.compile(r"NetworkPolicy|Auth|TLS|Security|Firewall|Certificate")
_SECURITY_FIELDS = re.compile(r"\b(iap|securityPolicy|tls|mtls|jwt|cors|auth\w*|cert\w*)\b", re.IGNORECASE)
WHOLE = ""
"""The field of a row that is about a whole object."""
LONGEST = 80  # characters of a value in the table


class Verdict(StrEnum):
    """What becomes of something of stable's."""

    TAKEN_OVER = "taken over"
    CHANGED = "changed by the plan"
    DIFFERS = "differs"
    CANNOT = "cannot be taken over"


@dataclass(frozen=True, slots=True)
class Finding:
    """A row: of which `object` which `field`, how it is on stable and on the canary, and what becomes of it.

    `why` says more, or nothing. What is `essential` may not differ unless the plan accepts it.
    """

    object: str
    field: str
    stable: str
    canary: str
    verdict: Verdict
    why: str = ""
    essential: bool = False

    @property
    def name(self) -> str:
        """By which a plan accepts it: the kind and the field, as `GCPBackendPolicy.default.iap`."""
        kind = self.object.partition(" ")[0]
        return f"{kind}.{self.field.removeprefix('spec.')}" if self.field else kind

    @property
    def differs(self) -> bool:
        return self.verdict in (Verdict.DIFFERS, Verdict.CANNOT)

    def is_accepted(self, names: Iterable[str]) -> bool:
        """Whether one of a plan's names means it: its own, or one that it begins with, up to a dot."""
        return any(self.name == each or self.name.startswith((f"{each}.", f"{each}[")) for each in names)

    def __str__(self) -> str:
        what = f"{self.object}{f', {self.field}' if self.field else ''}"
        values = f": {self.stable or 'nothing'} on stable, {self.canary or 'nothing'} on the canary"
        return f"{what} {self.verdict}{values}{f' ({self.why})' if self.why else ''}"


def finding(
    obj: K8sObject,
    verdict: Verdict,
    canary: str,
    field: str = WHOLE,
    stable: str | None = None,
    why: str = "",
) -> Finding:
    """A row about an object of stable's, or a field of it."""
    essential = bool(_SECURITY_KINDS.search(obj["kind"]) or _SECURITY_FIELDS.search(field))
    return Finding(
        title_of(obj),
        field,
        obj["metadata"]["name"] if stable is None else stable,
        canary,
        verdict,
        why,
        essential,
    )


def compared(
    old: K8sObject, made: K8sObject, succession: Succession, verdict: Verdict = Verdict.DIFFERS
) -> list[Finding]:
    """How an object that the canary has differs from stable's, but for names: row by row; or one row if not.

    What the canary's alone has is a difference too.
    """
    before, after = (dict(fields_of(part(each, "spec"), "spec")) for each in (succession.copy_of(old), made))
    rows = [
        finding(old, verdict, shown(after.get(field)), field, shown(before.get(field)))
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    ]
    return rows or [finding(old, Verdict.TAKEN_OVER, made["metadata"]["name"])]


def not_copied(obj: K8sObject, succession: Succession) -> Finding | None:
    """Why an object that is attached to stable is not copied; None where it is."""
    owner = next((each for each in parts(obj, "metadata", "ownerReferences") if each.get("controller")), None)
    if owner is not None:
        made_by = f"made by {owner.get('kind')} {owner.get('name')}"
        known = owner.get("kind") == "ScaledObject"
        verdict = Verdict.TAKEN_OVER if known else Verdict.CANNOT
        return finding(obj, verdict, "", why=f"{made_by}, which is asked for it" if known else made_by)
    if obj["kind"] == "Service" and part(obj, "spec").get("type") in (
        "LoadBalancer",
        "NodePort",
        "ExternalName",
    ):
        why = "a way in of its own, whose clients stay with stable"
        return finding(obj, Verdict.CANNOT, "", why=why)
    return None


def by_labels_of_pools(obj: K8sObject, old: K8sObject, new: K8sObject) -> Iterator[Finding]:
    """A row where an object chooses stable's InferencePool by its own labels: does it choose the canary's?"""
    chosen = [
        each
        for each in parts(obj, "spec", "targetSelectors")
        if each.get("kind") == "InferencePool" and selects(each, labels_of(old))
    ]
    if chosen and all(selects(each, labels_of(new)) for each in chosen):
        yield finding(obj, Verdict.TAKEN_OVER, "the same object")
    elif chosen:
        words = ", ".join(spelled(each) for each in chosen)
        why = f"it chooses InferencePools by {words}, which the canary's has not"
        yield finding(obj, Verdict.CANNOT, "", why=why)


def still_measured(obj: K8sObject, copy: K8sObject, succession: Succession) -> Iterator[Finding]:
    """Where a copied autoscaler may go by what stable has to do, and take pods away from the canary."""
    why = "it names what is stable's: see that it goes by what the canary has to do"
    for path, text in still_named(part(copy, "spec"), succession.measured):
        yield finding(obj, Verdict.DIFFERS, text, f"spec.{path}", text, why)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What chooses pods: its title, and the LabelSelector that it chooses by; an empty one chooses none."""

    title: str
    selector: K8sObject


def overlaps(selectors: Iterable[Overlap], pods: Sequence[Labels], whose: str) -> Iterator[str]:
    """A sentence for each of these `selectors` that chooses pods of the other side, the pool `whose`."""
    for each in selectors:
        terms = any(part(each.selector, "matchLabels")) or any(parts(each.selector, "matchExpressions"))
        if terms and any(selects(each.selector, labels) for labels in pods):
            yield (
                f"{each.title} selects its pods by {spelled(each.selector)}, which the pods of InferencePool "
                f"{whose} have too: they would be its own, and get its requests at once. Give the canary's "
                "pods another value of such a label."
            )


def problems(findings: Iterable[Finding], accepted: Sequence[str]) -> list[Finding]:
    """The rows for which a rollout is refused."""
    return [each for each in findings if each.essential and each.differs and not each.is_accepted(accepted)]


def shown(value: Any) -> str:
    """A value as the table has it."""
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
