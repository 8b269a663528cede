"""Who watches an object that a rollout moves: a Lease beside it, renewed with every observation.

Its labels say where the rollout stands, so that `kubectl get lease -l app.kubernetes.io/managed-by=...` lists
all rollouts. Its age is measured by one clock, the API server's: whoever renews writes the time by it, and
whoever reads asks it what time it is.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from inference_rollouts.core.limits import LEASE_SECONDS
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import LONGEST_NAME, K8sObject, annotations_of, moment, part
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.values import Finite, Plain, Value

LEASES = {OWNER_LABEL: OWNER}
"""The labels of all these leases."""
STEP_LABEL = "inference-rollouts.dev/step"
SHARE_LABEL = "inference-rollouts.dev/share"
PHASE_LABEL = "inference-rollouts.dev/phase"
VERDICT_LABEL = "inference-rollouts.dev/verdict"
TOKEN = "inference-rollouts.dev/token"
"""The annotation that says whose rollout is watched."""
STATUS = "inference-rollouts.dev/status"
"""The annotation that says where the rollout stands, as one line for people."""
PROGRESS = "inference-rollouts.dev/progress"
"""The annotation that says how far the judge of its step is (a Progress, as JSON)."""

SEEN = "inference-rollouts.dev/seen"
"""The annotation with what whoever observes a step has seen of it, for who comes after."""

LONGEST_REASON = 400  # characters of the judge's reason that a Lease takes


class MetricEvidence(Plain, frozen=True, forbid_unknown_fields=False):
    """Evidence by one metric: that the canary is worse than stable, and that it is good enough (None: not
    asked)."""

    metric: str
    worse: Finite
    good: Finite | None = None


class Progress(Value):
    """How far the judge of a step is, as one observation saw it: what a Lease remembers of a judgement.

    `reason` is the judge's own. The `evidence` that the canary is worse raises the alarm at `alarm_at`.
    `baked` is how much of the `bake` time is over, in seconds; `following` the weight of the step after this
    one, None where promotion follows. `observed` is the share of the requests that the canary was seen to get
    (None: nobody knows), `asks` whether a person is asked meanwhile, `metrics` the evidence by each.
    """

    model_config = ConfigDict(extra="ignore")  # a newer version may have written it

    step: int
    verdict: str
    reason: Annotated[str, Field(max_length=LONGEST_REASON)]
    evidence: float
    alarm_at: float
    baked: float
    bake: float
    following: int | None
    observed: float | None = None
    asks: bool = False
    metrics: tuple[MetricEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """What a Lease says: who watches the rollout with `token`, since when, and until when that counts.

    `acquired`, `renewed` and `until` are times of the API server's clock (Unix seconds); `version` is the
    Lease's resourceVersion. `seen` is what whoever observes has seen, as text.
    """

    holder: str
    token: str
    acquired: float
    renewed: float
    until: float
    version: str
    progress: Progress | None = None
    seen: str = ""

    def is_fresh(self, now: float) -> bool:
        """Whether somebody watches at `now`. Nobody does who has said so at a time that is yet to come: that
        was another clock, or somebody's edit."""
        return bool(self.holder) and self.renewed - LEASE_SECONDS <= now < self.until


def watched_by(watch: Watch | None, now: float) -> str:
    """Who watches, and since when, in words."""
    if watch is None or not watch.holder:
        return "nobody"
    if not watch.is_fresh(now):
        return f"nobody, since {watch.holder} was last seen {now - watch.renewed:.0f} s ago"
    return f"{watch.holder} since {datetime.fromtimestamp(watch.acquired, UTC):%H:%M:%S}Z"


def lease_name(target: Target) -> str:
    """The name of the Lease beside an object."""
    name = f"{target.kind.lower()}-{target.name}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 17].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def watch_of(lease: K8sObject | None, longest: float = math.inf) -> Watch | None:
    """What a Lease says; None where there is none, or it says nothing of use.

    It counts for `longest` seconds at most, whatever somebody made of how long it lasts.
    """
    spec = part(lease, "spec")
    renewed = moment(spec.get("renewTime"))
    if lease is None or renewed is None:
        return None
    seconds = spec.get("leaseDurationSeconds")
    return Watch(
        holder=str(spec.get("holderIdentity") or ""),
        token=annotations_of(lease).get(TOKEN, ""),
        acquired=moment(spec.get("acquireTime")) or renewed,
        renewed=renewed,
        until=renewed + min(longest, seconds if isinstance(seconds, int) else LEASE_SECONDS),
        version=str(lease["metadata"].get("resourceVersion", "")),
        progress=_progress_on(lease),
        seen=annotations_of(lease).get(SEEN, ""),
    )


def _progress_on(lease: K8sObject) -> Progress | None:
    """None where it says none, or nothing that this version understands."""
    text = annotations_of(lease).get(PROGRESS)
    try:
        return None if text is None else Progress.model_validate_json(text)
    except ValidationError:
        return None


def standing_labels(claim: Claim, progress: Progress | None) -> dict[str, str]:
    """Where a rollout stands, as labels; their values may have no blanks."""
    plan = {PLAN_LABEL: claim.plan} if claim.plan else {}
    return {
        **LEASES,
        **plan,
        STEP_LABEL: f"{claim.step}-of-{claim.steps}",
        SHARE_LABEL: str(claim.percent),
        PHASE_LABEL: claim.phase.value,
        **({VERDICT_LABEL: progress.verdict.replace(" ", "-")} if progress else {}),
    }


def renewed_lease(
    obj: K8sObject,
    claim: Claim,
    holder: str,
    before: Watch | None,
    now: float,
    progress: Progress | None = None,
    status: str = "",
    seen: str = "",
) -> dict[str, Any]:
    """The Lease beside `obj` with which `holder` says at `now` that it watches; for a server-side apply.

    `progress` is the judge's, if it is one that watches, and `status` the line for people. What was `seen` of
    the rollout before is kept by who has seen nothing.
    """
    target = Target(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])
    known = before if before and before.token == claim.token else None
    same, seen = known is not None and known.holder == holder, seen or (known.seen if known else "")
    owner = {
        "apiVersion": target.api,
        "kind": target.kind,
        "name": target.name,
        "uid": obj["metadata"]["uid"],
    }
    return {
        "apiVersion": LEASE_API,
        "kind": "Lease",
        "metadata": {
            "name": lease_name(target),
            "labels": standing_labels(claim, progress),
            "annotations": {
                TOKEN: claim.token,
                **({STATUS: status} if status else {}),
                **({PROGRESS: progress.model_dump_json()} if progress else {}),
                **({SEEN: seen} if seen else {}),
            },
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": lease_seconds(claim),
            "acquireTime": _micro(before.acquired if before and same else now),
            "renewTime": _micro(now),
        },
    }


def lease_seconds(claim: Claim) -> int:
    """For how long a renewal counts: until the next observation, and what any may be late."""
    return LEASE_SECONDS + math.ceil(claim.guard.interval if claim.guard else 0.0)


def _micro(time: float) -> str:
    """A MicroTime, the form of times in a Lease."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
