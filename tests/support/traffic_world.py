"""A cluster, several runs and their accidents, in one process: what the laws of moving traffic are tried on.

Every call to the cluster may fail before or after it took effect, the caller may be killed there, and another
run may act between its reading and its writing. The world keeps the books by which the laws are checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from typing import Any

from inference_rollouts.core.errors import ClusterUnavailable, NotFound, PatchRefused
from inference_rollouts.core.limits import RETURN_PATIENCE
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.routing.claim import (
    Claim,
    Ending,
    Phase,
    read_claim,
    read_ending,
)
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.core.routing.switch import SWITCH, switch_of
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.availability import Availability
from inference_rollouts.core.serving.way_back import kept_share
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.traffic import Traffic
from inference_rollouts.rollout.way_back import Restored
from tests.support.interleaving import Interleaving
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.route_objects import MemoryObjects, Objects
from tests.support.routes import ref, route, service
from tests.support.traffic_people import Commanded
from tests.support.traffic_plan import POOL_API, metric_set, plan_of, pod, pool
from tests.support.traffic_rules import (
    CANARY,
    STABLE,
    foreign,
    made_of,
    owned,
    readable,
    share,
    shares,
)

WEB = service("web") | {"port": 80}  # what other rules send to
PODS = 3  # of each pool, as many as carry all traffic
WEIGHTS = (20, 50, 100)


class Fate(IntEnum):
    """What becomes of one call to the cluster."""

    FINE = 0
    REFUSED = 1
    """It fails before it took effect."""
    LOST = 2
    """It took effect, and the answer is lost."""
    KILLED_BEFORE = 3
    KILLED_AFTER = 4


class Killed(BaseException):
    """The process died here."""


class Passing(Exception):
    """Any error that may pass: 403, 500, a reset."""


@dataclass
class World:
    """Some routes, each with a rule that sends traffic to the stable pool, beside others."""

    routes: int = 2
    others: int = 0  # weight of another pool in the same rule, as found
    objects: Objects = field(default_factory=MemoryObjects)
    fates: list[Fate] = field(default_factory=list)
    interleaving: Interleaving | None = None
    pods: dict[str, int] = field(default_factory=lambda: {STABLE: PODS, CANARY: PODS})  # that are ready
    judged: set[tuple[str, int]] = field(default_factory=set)
    drifted: set[str] = field(default_factory=set)  # what others changed or took away
    broken: list[str] = field(default_factory=list)  # laws that were broken, in words
    runs: list[Run] = field(default_factory=list)
    events: list[str] = field(default_factory=list)  # the reasons of what was told, in order
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: float = 1000.0  # the API server's, in Unix seconds
    aborted: set[str] = field(default_factory=set)  # tokens of rollouts that a person has sent back
    hurried: dict[tuple[str, int], int] = field(default_factory=dict)  # the step that a command let pass
    undisturbed: bool = True  # no call failed, and no other task acted, since this was last set

    def __post_init__(self) -> None:
        for number in range(self.routes):
            name = f"route-{number}"
            beside = [ref("other", self.others)] if self.others else []
            obj = route([WEB], [ref(STABLE, 60), *beside])
            obj["spec"]["rules"][0]["matches"] = [{"path": {"type": "Exact", "value": "/web"}}]
            obj["metadata"] |= {"name": name, "uid": name}
            self.objects.create(obj)
        self.found = {name: copy.deepcopy(self.objects[name]) for name in self.objects}

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(Target(GATEWAY_API, "HTTPRoute", name) for name in self.found)

    def at_once(self, acts: Sequence[Callable[[], object]], order: Iterable[int]) -> None:
        """Let tasks take turns at each call, in this order."""
        self.interleaving, self.undisturbed = Interleaving(acts, order), False
        self.interleaving.run()
        self.interleaving, self.undisturbed = None, True

    # What the Cluster protocol has of it.

    def time(self) -> float:
        return self.clock

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        with self._call():
            if kind == "InferencePool" and api_version == POOL_API and name in self.pods:
                return pool(name)
            if kind != "Lease":
                return self._live(kind, name)
            if name not in self.leases:
                raise NotFound(f"{kind} {name} not found")
            return copy.deepcopy(self.leases[name])

    def apply(
        self, manifest: dict[str, Any], *, dry_run: bool = False, force: bool = False
    ) -> dict[str, Any]:
        """Of leases alone, which nobody else applies."""
        with self._call():
            meta = manifest["metadata"]
            live = self.leases.get(meta["name"])
            version = live["metadata"]["resourceVersion"] if live else "0"
            if meta.get("resourceVersion", version) != version:
                raise ClusterUnavailable("PATCH", f"/leases/{meta['name']}", 409, "somebody was faster")
            lease = copy.deepcopy(manifest)
            lease["metadata"] |= {"resourceVersion": str(int(version) + 1), "uid": meta["name"]}
            self.leases[meta["name"]] = lease
            return copy.deepcopy(lease)

    def delete(self, obj: dict[str, Any]) -> None:
        with self._call():
            self.leases.pop(obj["metadata"]["name"], None)

    def find(self, api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: object = None) -> list[dict[str, Any]]:
        with self._call():
            if kind == "Lease":
                return [copy.deepcopy(lease) for name, lease in self.leases.items() if name != SWITCH]
            if kind == "Pod":
                return [
                    pod() for pool in self.pods if labels == {"pool": pool} for _ in range(self.pods[pool])
                ]
            return [self._live(kind, name) for name in self.objects] if kind == "HTTPRoute" else []

    def serves(self, api_version: str, kind: str) -> bool:
        return kind == "HTTPRoute"

    def patch(self, api_version: str, kind: str, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        with self._call():
            if kind == "Lease":
                return self._patch_lease(name, patch)
            before = self._live(kind, name)
            after = self.objects.patch(name, patch)
            self._audit(name, before, after)
            return copy.deepcopy(after)

    def _patch_lease(self, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            lease = apply_patch(self.leases[name], patch)
        except TestFailed as error:
            raise PatchRefused(str(error)) from error
        lease["metadata"]["resourceVersion"] += "1"
        self.leases[name] = lease
        return copy.deepcopy(lease)

    def event(self, about: object, reason: str, message: str, *, warning: bool = False) -> None:
        self.events.append(reason)

    def _live(self, kind: str, name: str) -> dict[str, Any]:
        if name not in self.objects:
            raise NotFound(f"{kind} {name} not found")
        return copy.deepcopy(self.objects[name])

    @contextmanager
    def _call(self) -> Iterator[None]:
        if self.interleaving:
            self.interleaving.pause()
        fate = self.fates.pop(0) if self.fates else Fate.FINE
        self.undisturbed = self.undisturbed and fate is Fate.FINE
        if fate is Fate.REFUSED:
            raise Passing("503")
        if fate is Fate.KILLED_BEFORE:
            raise Killed
        yield
        if fate is Fate.LOST:
            raise Passing("reset")
        if fate is Fate.KILLED_AFTER:
            raise Killed

    # The laws.

    def _audit(self, name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Hold one write against the laws of writing."""
        claim, over = read_claim(before), read_claim(after)
        rose = share(after) > share(before)
        if rose and over and over.phase is Phase.RETURNING and self.pods[STABLE] == 0 < self.pods[CANARY]:
            pass  # only the canary serves
        elif rose and (claim is None or claim.phase is not Phase.PROGRESSING or not permits(claim)):
            self.broken.append(f"{name} was raised without a permission: {claim}")
        elif rose and claim and (claim.token, claim.step) not in self.judged:
            self.broken.append(f"{name} was raised from step {claim.step}, which nobody judged")
        switch = switch_of(self.leases.get(SWITCH))
        begun = over is not None and over.phase is Phase.PROGRESSING and not self.interleaving
        if rose and begun and switch and switch.is_on(self.clock):
            self.broken.append(f"{name} was raised while all is stopped: {switch}")
        if claim and share(after) < share(before) and not (over and over.phase is Phase.PROGRESSING):
            self._audit_return(name, claim, after)
        ours = made_of({place.matches for place in (claim or over).places}, before)  # type: ignore[union-attr]
        self._audit_ending(name, claim, before, after)
        theirs = [foreign(obj, ours) for obj in (before, after)]
        if theirs[0] != theirs[1]:
            self.broken.append(f"{name}: something foreign changed: {theirs}")

    def _audit_return(self, name: str, claim: Claim, after: dict[str, Any]) -> None:
        """Traffic goes back when nothing can be raised any more, and to where it can be served."""
        if not self.undisturbed:
            return
        for other in set(self.objects) - {name}:
            beside = readable(self.objects[other])
            if beside and beside.token == claim.token and beside.phase is not Phase.RETURNING:
                self.broken.append(f"{name} goes back while {other} may still be raised")
        if name in self.drifted:
            return  # the canary may have had more than we gave it
        gets = 1 - share(after) / owned(after) if owned(after) else Fraction(0)
        if self.pods[STABLE] and claim.phase is Phase.RETURNING and self._waited_long(claim):
            return
        if self.pods[CANARY] and gets * PODS > self.pods[STABLE]:
            self.broken.append(f"{name}: {self.pods[STABLE]} of {PODS} pods get {gets} of the traffic")

    def _waited_long(self, claim: Claim) -> bool:
        """Whether stable was waited for as long as a guardian does, which does not know the load."""
        return self.clock >= (claim.next_move_by or self.clock) + RETURN_PATIENCE

    def _audit_ending(
        self, name: str, claim: Claim | None, before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        """An object is let go as promoted only when the last step passed and the canary has everything."""
        last = read_ending(after)
        if claim is None or last is None or read_claim(after) is not None:
            return
        if last.ending is Ending.PROMOTED:
            judged = (claim.token, len(WEIGHTS)) in self.judged
            everything = share(before) == owned(before)
            if claim.token in self.aborted:
                self.broken.append(f"{name} was promoted after somebody had sent it back")
            if claim.percent != 100 or not everything or not (judged and permits(claim)):
                self.broken.append(f"{name} was promoted without its permission: {claim}")

    def check(self) -> None:
        """Hold the state against the laws of states; raises AssertionError."""
        assert not self.broken, self.broken
        for name in set(self.objects) - self.drifted:
            obj = self.objects[name]
            assert owned(obj) == owned(self.found[name]), f"{name}: the pair's share is another"

    def as_found(self, name: str) -> bool:
        return shares(self.objects[name]) == shares(self.found[name])

    def promoted(self, name: str) -> bool:
        now = shares(self.objects[name])
        return now.get(STABLE, 0) == 0 and now.get(CANARY, 0) == shares(self.found[name])[STABLE]


@dataclass
class Run(Commanded):
    """One try of a run of some Airflow, whose tasks may run at any time, in any order, again and again."""

    world: World
    token: str
    name: str = "rollout_llm/r1"

    def __post_init__(self) -> None:
        self.plan = plan_of(WEIGHTS, STABLE, CANARY)
        self.frozen = Frozen(
            run=self.name,
            token=self.token,
            plan=self.plan,
            parents=(),
            targets=self.world.targets,
            metric_set=metric_set(),
            manifests=(),
            stable_pods=PODS,
        )
        self.places = kind_of(self.plan).places

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.world, self.frozen, self.places)  # type: ignore[arg-type]

    @property
    def kind(self) -> Run:
        """What is asked of the kind of rollout on the way back."""
        return self

    def kept_share(self, run: Run, percent: int, *, patient: bool = True) -> int:
        stable, canary = (Availability(pods > 0, pods) for pods in self.world.pods.values())
        return kept_share(stable, canary, percent, PODS)

    def attach(self, step: int) -> None:
        self.traffic.attach()

    def pass_(self, step: int) -> None:
        """The warm-up (0), or the judge of a step, lets the next raise happen."""
        self.world.judged.add((self.token, step))
        self.traffic.permit(step, 1.0)

    def shift(self, step: int) -> None:
        index = min(max(1, step), len(WEIGHTS))
        self.traffic.shift(index, self.plan.all_steps[index - 1], float(index))

    def alarm(self, step: int) -> None:
        percent = max((claim.percent for claim in self.traffic.claims()), default=0)
        self.traffic.way_back.retreat("an alarm", self.kept_share(self, percent) if percent else 0)

    def promote(self, step: int) -> None:
        self.traffic.promote(9.0)

    def rollback(self, step: int = 0) -> None:
        """What it says of its end must be so."""
        restored = bring_back(
            self.traffic.way_back, lambda percent: self.kept_share(self, percent), "a rollback", 9.0
        )
        live = [self.world.objects[name] for name in self.world.objects]
        endings = {
            last.ending
            for obj in live
            if (last := read_ending(obj)) and last.token == self.token and readable(obj) is None
        }
        if restored is Restored.NOTHING and endings:
            self.world.broken.append(f"a rollback said that nothing was claimed, but it is {endings}")
        if restored is Restored.DONE and Ending.PROMOTED in endings:
            self.world.broken.append("a rollback said that it restored what it promoted")
