"""The guardian: watches every rollout that nobody else watches, and ends those that nobody drives any more.

It needs the claims and nothing else: no plan, no XCom, no Airflow. One round looks at all claims of a
namespace, each for itself; several guardians harm nobody, as every write is guarded by what was read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.clients.read_once import ReadOnce
from inference_rollouts.core.errors import PassingError, PrometheusUnavailable, RolloutError, RouteDrift
from inference_rollouts.core.judging.guardrails import guardrails, harms
from inference_rollouts.core.judging.judgement import Opinion, worst
from inference_rollouts.core.judging.policy import STORM_WINDOWS
from inference_rollouts.core.limits import GUARDIAN_PATIENCE, GUARDIAN_POLL, LEASE_SECONDS
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.series import Closed, Reading, reading_of
from inference_rollouts.core.reporting.status import status_of
from inference_rollouts.core.routing.claim import Claim, Guard, read_ending
from inference_rollouts.core.routing.drift import leads_to
from inference_rollouts.core.routing.duty import Duty, duty, why_ended
from inference_rollouts.core.routing.undo import is_undone
from inference_rollouts.core.routing.watch import (
    LEASES,
    Watch,
    lease_name,
    lease_seconds,
    renewed_lease,
    watch_of,
)
from inference_rollouts.core.routing.weights import Target, target_of
from inference_rollouts.core.run.guard import limits_of, read_storm_watch
from inference_rollouts.core.run.memory import crashes_since
from inference_rollouts.rollout.by_claims import end_by_claims, kept_by_claims
from inference_rollouts.rollout.census import Census
from inference_rollouts.rollout.claims import Claimed, by_token, claims_on
from inference_rollouts.rollout.control import obey_all
from inference_rollouts.rollout.floors import settle_floors
from inference_rollouts.rollout.observation import exporters_in, observe_pools, resolves, storm_between
from inference_rollouts.rollout.side_by_side import SideBySide
from inference_rollouts.rollout.targets import claimable_objects
from inference_rollouts.rollout.way_back import Restored, WayBack
from inference_rollouts.rollout.writer import Writer

RENEW_BEFORE = LEASE_SECONDS / 2  # seconds before its lease ends that a guardian renews it
AT_ONCE = 16  # rollouts looked at side by side

log = logging.getLogger(__name__)

Looked = tuple[bool, "Ended | None"]
"""Whether a guardian watches a rollout, and its end if it came to one."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """One rollout: what it claims, and what the leases beside that say."""

    token: str
    claimed: tuple[Claimed, ...]
    watches: tuple[Watch | None, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        return tuple(each.claim for each in self.claimed if each.claim)

    @property
    def objects(self) -> tuple[K8sObject, ...]:
        return tuple(each.obj for each in self.claimed)

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(each.target for each in self.claimed)

    @property
    def percent(self) -> int:
        """The most that the canary has of one object's traffic, or of copies of it."""
        return max((max(claim.percent, claim.mirror) for claim in self.claims), default=0)

    @property
    def serves(self) -> bool:
        """Whether the canary has requests, or copies of them, whoever gave it those."""
        led = (leads_to(each.obj, each.claim, each.claim.canary) for each in self.claimed if each.claim)
        return bool(self.percent) or any(led)

    @property
    def known(self) -> tuple[Claim, str]:
        """One of its claims, that which is behind the others, and the namespace."""
        behind = min(self.claims, key=lambda claim: (claim.step, claim.percent))
        return behind, self.namespace

    @property
    def namespace(self) -> str:
        return str(self.objects[0]["metadata"].get("namespace", ""))

    def reading(self, now: float) -> Reading:
        """What metrics say of it."""
        progress = next((watch.progress for watch in self.watches if watch and watch.progress), None)
        return reading_of(*self.known, progress, self.unwatched(now))

    def unwatched(self, now: float) -> float:
        """Seconds since the lease of one of its objects expired; 0 while all are watched."""
        ends = [watch.until if watch else now for watch in self.watches]
        return max(0.0, now - min(ends, default=now))

    def __str__(self) -> str:
        [first, *_] = self.claims
        return f"{first.stable} -> {first.canary} ({first.owner.run})"


@dataclass(frozen=True, slots=True)
class Ended:
    """A rollout that a guardian has ended, after an alarm of its own or not."""

    claim: Claim
    how: Restored
    why: str
    namespace: str = ""
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw and did: rollouts, those it watches itself, the longest time unwatched (seconds).

    `readings` are of all in flight, `closed` have ended since the last round, whoever ended them; `taken` are
    claims of those with traffic that only this guardian watches, with their namespaces.
    """

    rollouts: int = 0
    watching: int = 0
    unwatched: float = 0.0
    ended: tuple[Ended, ...] = ()
    readings: tuple[Reading, ...] = field(default=(), compare=False)
    closed: tuple[Closed, ...] = field(default=(), compare=False)
    taken: tuple[tuple[Claim, str], ...] = field(default=(), compare=False)


@dataclass(slots=True)
class Guardian:
    """`holder` on the leases that it takes. Without `prometheus` it sees no storms, all else it does.

    `at_once` rollouts are looked at side by side; of 1, in the caller's thread. One whose look takes longer
    than `patience` delays neither others nor the next round: what came of it is told in a later one.
    """

    cluster: Cluster
    prometheus: Prometheus | None
    holder: str
    at_once: int = AT_ONCE
    patience: float = GUARDIAN_PATIENCE
    _told: set[str] = field(default_factory=set)
    _census: Census = field(default_factory=Census)
    _met: dict[tuple[str, float], float] = field(default_factory=dict)
    _seen: ReadOnce = field(init=False)
    _looks: SideBySide[Looked] = field(init=False)
    _settling: SideBySide[None] = field(init=False)

    def round(self) -> Round:
        """Look at all rollouts of the namespace once. Raises what the cluster raises."""
        objects = claimable_objects(self.cluster)
        if obey_all(self.cluster, claims_on(objects)):
            objects = claimable_objects(self.cluster)
        claimed = claims_on(objects)
        leases = {each["metadata"]["name"]: each for each in self.cluster.select(LEASE_API, "Lease", LEASES)}
        now = self.cluster.time()
        self._tell_mistakes(claimed)
        self._clean(leases, {lease_name(each.target) for each in claimed}, now)
        rollouts = list(_rollouts(claimed, leases))
        running = {each.token for each in rollouts}
        self._met = {key: at for key, at in self._met.items() if key[0] in running}
        self._settle(objects, running)
        self._seen = ReadOnce(self.cluster)
        done = self._look_after_all(rollouts)
        watched = {token for token, (watches, _) in done.items() if watches}
        for token, (_, ended) in done.items():
            if ended:
                self._census.ended(token, alarm=ended.alarm)
        return Round(
            rollouts=len(rollouts),
            watching=len(watched),
            unwatched=max((each.unwatched(now) for each in rollouts), default=0.0),
            ended=tuple(ended for _, ended in done.values() if ended),
            readings=tuple(each.reading(now) for each in rollouts),
            closed=self._census.take(
                {each.token: each.known for each in rollouts}, objects, self._looks.running
            ),
            taken=tuple(each.known for each in rollouts if each.token in watched and each.percent),
        )

    def __post_init__(self) -> None:
        self._seen = ReadOnce(self.cluster)
        self._looks = SideBySide(self.at_once, self.patience)
        self._settling = SideBySide(self.at_once, self.patience)

    def _look_after_all(self, rollouts: Sequence[Guarded]) -> dict[str, Looked]:
        """By token, of those whose looks have ended."""
        if self.at_once == 1:
            return {each.token: self._look_after(each) for each in rollouts}
        return self._looks.round({each.token: partial(self._look_after, each) for each in rollouts})

    def _look_after(self, rollout: Guarded) -> Looked:
        """Nothing is raised."""
        what = duty(rollout.claims, rollout.watches, self.holder, self.cluster.time())
        if what is Duty.NONE:
            return False, None
        try:
            if not self._take(rollout, what):
                return False, None
            return True, self._see_to(rollout, what)
        except RolloutError as error:
            self._tell_once(rollout.objects[0], "RolloutStuck", f"{rollout}: {error}")
        except PassingError as error:
            log.warning("%s: %s", rollout, error)
        except Exception:
            log.exception("%s", rollout)
        return True, None

    def _see_to(self, rollout: Guarded, what: Duty) -> Ended | None:
        """Watch it, or end it. What cannot go back because others changed it is watched as long as it stands.

        Raises what `_watch` and `_end` raise.
        """
        if what is Duty.WATCH or is_undone(rollout.claims):
            alarm = self._watch(rollout)
            return self._end(rollout, alarm) if alarm or what is Duty.END else None
        try:
            return self._end(rollout, "")
        except RouteDrift:
            if not (alarm := self._watch(rollout)):
                raise
        return self._end(rollout, alarm)

    def _take(self, rollout: Guarded, what: Duty) -> bool:
        """Hold the leases; False when somebody else was faster. To end a rollout also those of others."""
        for each, watch in zip(rollout.claimed, rollout.watches, strict=True):
            mine = watch is None or watch.holder == self.holder
            now = self.cluster.time()
            if what is Duty.WATCH and watch and watch.is_fresh(now + RENEW_BEFORE * mine):
                continue
            try:
                self._hold(each, watch, now)
            except Exception as error:  # it is watched without, too
                if getattr(error, "status", 0) == 409:
                    return False
                log.warning("could not take the lease beside %s: %s", each.target, error)
            if watch and not mine and rollout.percent:
                text = (
                    f"{watch.holder} was last seen {now - watch.renewed:.0f} s ago; {self.holder} watches now"
                )
                self.cluster.event(each.obj, "WatchTaken", text)
                log.warning("%s: %s", each.target, text)
        return True

    def _hold(self, each: Claimed, watch: Watch | None, now: float) -> None:
        """Take or renew one lease, unless it changed since it was read."""
        assert each.claim
        status = status_of([each.claim]).headline
        lease = renewed_lease(each.obj, each.claim, self.holder, watch, now, status=status)
        if watch:
            lease["metadata"]["resourceVersion"] = watch.version
        self.cluster.apply(lease, force=True)

    def _watch(self, rollout: Guarded) -> str:
        """Look at a rollout. An alarm takes its traffic away; the reason, empty if there is none."""
        guard = next((claim.guard for claim in rollout.claims if claim.guard), None)
        if guard is None or not rollout.serves:
            return ""
        since = max(claim.since for claim in rollout.claims)
        crashes = crashes_since(since, (watch.seen for watch in rollout.watches if watch))
        health = observe_pools(self._seen, guard.canary_pool, guard.stable_pool, crashes).health
        health = health.model_copy(update={"route_ok": resolves(rollout.objects)})
        opinions: list[Opinion] = list(guardrails(limits_of(guard), health))
        begun = self._begun(rollout.token, since)
        if not opinions and (storm := self._storm(guard, begun)):  # else no store is waited for
            opinions = list(guardrails(limits_of(guard), health.model_copy(update={"storm": storm})))
        if not opinions:
            return ""
        alarm = worst(opinions)
        if harms(alarm, health):
            log.warning("%s: %s But stable cannot take anything, so nothing is moved.", rollout, alarm.reason)
            return ""
        kept = 0 if (health.ready_stable or 0) >= guard.pods else kept_by_claims(self.cluster, rollout.claims)
        self._way_back(rollout).retreat(f"{alarm.reason} ({self.holder})", kept)
        return alarm.reason

    def _begun(self, token: str, since: float) -> float:
        """When a share of `since` began (Unix seconds): not after it was first seen here.

        Whoever wrote that may not have known the common clock, and would keep us from looking until then.
        """
        return min(since, self._met.setdefault((token, since), self.cluster.time()))

    def _storm(self, guard: Guard, since: float) -> str:
        watch = read_storm_watch(guard)
        if self.prometheus is None or watch is None:
            return ""
        end = self.cluster.time() - guard.scrape_delay
        start = end - STORM_WINDOWS * max(guard.interval, GUARDIAN_POLL)
        if start < since:
            return ""
        pools = {guard.canary_pool, guard.stable_pool}
        own = partial(exporters_in, self._seen, pools, watch.metric_set)
        try:
            return storm_between(self.prometheus, watch, start, end, own)
        except PrometheusUnavailable as error:
            log.warning("%s", error)
            return ""

    def _end(self, rollout: Guarded, alarm: str) -> Ended | None:
        """Put it back, or complete what was committed; None where somebody has just done so, or gone on.

        `alarm` is why, if this guardian raised one. Raises StableUnavailable while that has to wait.
        """
        way_back, now = self._way_back(rollout), self.cluster.time()
        claims = way_back.claims()
        if not claims or not (alarm or duty(claims, rollout.watches, self.holder, now) is Duty.END):
            return None
        why = alarm or why_ended(claims, now)
        done = end_by_claims(self.cluster, way_back, f"{why} ({self.holder})", now)
        log.warning("%s: %s, because %s", rollout, done, why)
        return Ended(rollout.claims[0], done, why, rollout.namespace, bool(alarm))

    def _way_back(self, rollout: Guarded) -> WayBack:
        return WayBack(Writer(self.cluster), rollout.targets, rollout.token)

    def _tell_mistakes(self, claimed: Sequence[Claimed]) -> None:
        """Tell of claims that nobody can read."""
        for each in claimed:
            if each.mistake:
                self._tell_once(each.obj, "ClaimUnreadable", each.mistake)

    def _tell_once(self, obj: K8sObject, reason: str, sentence: str) -> None:
        """Say what only people can mend."""
        if sentence not in self._told:
            self._told.add(sentence)
            log.error("%s", sentence)
            self.cluster.event(obj, reason, sentence, warning=True)

    def _settle(self, objects: Sequence[K8sObject], running: set[str]) -> None:
        """Put back what rollouts owe to autoscalers that are over wherever they moved anything."""
        owing = []
        for obj in objects:
            last = read_ending(obj)
            if last and last.floors and last.token not in running:
                owing.append(target_of(obj))
        acts = {str(target): partial(settle_floors, Writer(self.cluster), target) for target in owing}
        if self.at_once > 1:
            self._settling.round(acts)
            return
        for act in acts.values():
            act()

    def _clean(self, leases: Mapping[str, K8sObject], needed: set[str], now: float) -> None:
        """Remove leases of rollouts that have ended. Those still fresh may be of one that has just begun."""
        for name, lease in leases.items():
            watch = watch_of(lease)
            if name in needed or (watch and watch.is_fresh(now)):
                continue
            try:
                self.cluster.delete(lease)
            except Exception as error:
                log.warning("could not remove the lease %s: %s", name, error)


def _rollouts(claimed: Sequence[Claimed], leases: Mapping[str, K8sObject]) -> Iterator[Guarded]:
    """What is claimed, by rollout. A lease that speaks of another one says nothing of this."""
    for token, members in by_token(claimed).items():
        watches = (_watch_on(each, leases) for each in members)
        yield Guarded(
            token, tuple(members), tuple(w if w and w.token in ("", token) else None for w in watches)
        )


def _watch_on(each: Claimed, leases: Mapping[str, K8sObject]) -> Watch | None:
    assert each.claim
    return watch_of(leases.get(lease_name(each.target)), lease_seconds(each.claim))
