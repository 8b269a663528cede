"""Schedules of tasks and accidents for which the laws of moving traffic must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import PassingError, RolloutError
from inference_rollouts.core.objects.k8s import annotations_of
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.core.routing.drift import leads_to
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.switch import put_back, throw
from tests.support.route_objects import Change, MemoryObjects, Objects
from tests.support.routes import ref
from tests.support.traffic_rules import CANARY, STABLE, readable, share
from tests.support.traffic_rules import rule as our_rule
from tests.support.traffic_world import PODS, WEB, Fate, Killed, Passing, Run, World

VERBS = (
    *("attach", "pass_", "shift", "shift", "shift", "alarm", "promote", "rollback"),
    *("pause", "resume", "resume", "raise_now", "promote_now", "abort", "obey", "obey"),
)
FATES = st.lists(st.sampled_from([Fate.FINE] * 12 + list(Fate)), max_size=24)
RUNS = st.sampled_from([0, 0, 0, 1, 2])
ACTS = st.tuples(RUNS, st.sampled_from(VERBS), st.integers(0, 3))
TURNS = st.lists(st.integers(0, 2), max_size=24)  # whose turn it is, call by call
GUARDIANS = st.sampled_from([0, 1])
LATER = st.sampled_from([1.0, 30.0, 400.0, 4000.0])  # seconds that pass on the API server's clock
RACE = st.lists(st.integers(0, 1), min_size=8, max_size=24)
ENDS = st.lists(st.sampled_from(["shift", "promote", "alarm", "rollback"]), min_size=2, max_size=3)
NAMES = st.sampled_from(["route-0", "route-1"])

Act = tuple[int, str, int]


def schedules(number: int, **more: Any) -> settings:
    """So many schedules of up to 25 acts, the same ones each time."""
    return settings(
        max_examples=number,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


class TrafficMachine(RuleBasedStateMachine):
    """Three tries (two of one run, one of another Airflow) over one or two routes."""

    @initialize(
        routes=st.integers(1, 2), others=st.sampled_from([0, 40]), guarded=st.booleans(), dies=st.booleans()
    )
    def begin(self, routes: int, others: int, guarded: bool, dies: bool) -> None:
        self.guarded = guarded  # at last by a guardian alone, all of Airflow gone
        self.dies = dies  # the canary does before that
        self.world = World(routes, others, self.no_objects())
        self.runs = [Run(self.world, token) for token in ("first", "second", "elsewhere")]
        self.world.runs = self.runs

    def no_objects(self) -> Objects:
        """Where the routes of this schedule are."""
        return MemoryObjects()

    def act(self, which: int, verb: str, step: int) -> None:
        """One task of one run; whatever it raises ends that task alone."""
        task: Callable[[int], None] = getattr(self.runs[which], verb)
        with suppress(RolloutError, PassingError, Passing, Killed):
            task(step)

    def at_once(self, acts: Sequence[Act], turns: list[int]) -> None:
        self.world.at_once([partial(self.act, *act) for act in acts], turns)

    @rule(act=ACTS, fates=FATES)
    def one_task(self, act: Act, fates: list[Fate]) -> None:
        self.world.fates, self.world.undisturbed = list(fates), True
        self.act(*act)
        self.world.fates = []

    @rule(acts=st.lists(ACTS, min_size=2, max_size=3), fates=FATES, turns=TURNS)
    def some_tasks_at_once(self, acts: list[Act], fates: list[Fate], turns: list[int]) -> None:
        self.world.fates = list(fates)
        self.at_once(acts, turns)
        self.world.fates = []

    @rule(which=RUNS, fates=FATES, upto=st.integers(0, 3))
    def a_rollout(self, which: int, fates: list[Fate], upto: int) -> None:
        """Task after task in their order, whatever happens to one, and none hears of an alarm."""
        self.world.fates, self.world.undisturbed = list(fates), True
        self.advance(which, upto)
        self.world.fates = []

    @rule(which=RUNS, upto=st.integers(0, 3), verbs=ENDS, turns=RACE)
    def a_race(self, which: int, upto: int, verbs: list[str], turns: list[int]) -> None:
        """Tasks of one run that each mean to end the step to which it has come."""
        self.world.undisturbed = True
        self.advance(which, upto)
        self.at_once([(which, verb, upto + 1) for verb in verbs], turns)

    def advance(self, which: int, upto: int) -> None:
        for verb in ("attach", "pass_"):
            self.act(which, verb, 0)
        for step in range(1, upto + 1):
            for verb in ("shift", "pass_"):
                self.act(which, verb, step)

    @rule(which=GUARDIANS, later=LATER, fates=FATES)
    def a_guardian_looks(self, which: int, later: float, fates: list[Fate]) -> None:
        """Where nobody else watches it does, and what nobody drives it ends."""
        self.world.clock += later
        self.world.fates, self.world.undisturbed = list(fates), True
        self.look(which)
        self.world.fates = []

    @rule(acts=st.lists(ACTS, min_size=1, max_size=2), which=GUARDIANS, later=LATER, turns=TURNS)
    def a_guardian_looks_at_the_same_time(
        self, acts: list[Act], which: int, later: float, turns: list[int]
    ) -> None:
        self.world.clock += later
        tasks = [partial(self.act, *act) for act in acts]
        self.world.at_once([*tasks, partial(self.look, which)], turns)

    def look(self, which: int) -> None:
        """One round of one guardian, which may die in it."""
        guardian = Guardian(cast(Cluster, self.world), None, f"guardian {which}", at_once=1)
        with suppress(RolloutError, PassingError, Passing, Killed):
            guardian.round()

    @rule(mode=st.sampled_from(["hold", "hold", "back"]), fates=FATES)
    def somebody_stops_everything(self, mode: str, fates: list[Fate]) -> None:
        self.world.fates = list(fates)
        with suppress(RolloutError, PassingError, Passing, Killed):
            throw(cast(Cluster, self.world), mode, "ben", "an incident", 100.0)
        self.world.fates = []

    @rule()
    def somebody_lets_it_go_on(self) -> None:
        put_back(cast(Cluster, self.world), "ben", "it is over")

    @rule(stable=st.integers(0, PODS), canary=st.sampled_from([0, PODS, PODS]))
    def pods_come_and_go(self, stable: int, canary: int) -> None:
        self.world.pods = {STABLE: stable, CANARY: canary}

    @rule(name=NAMES)
    def somebody_puts_a_rule_above(self, name: str) -> None:
        def change(obj: dict[str, Any]) -> None:
            above = copy.deepcopy(our_rule(obj))
            number = len(obj["spec"]["rules"])
            if above is None or number > 5:
                return
            if CLAIM not in annotations_of(obj):
                above["backendRefs"] = [dict(WEB)]  # else the next rollout would move it too
            above["matches"] = [{"path": {"type": "Exact", "value": f"/{number}"}}]
            obj["spec"]["rules"].insert(0, above)

        self.edit(name, change)

    @rule(name=NAMES, pool=st.sampled_from(["idle", "idle", CANARY, STABLE]), first=st.booleans())
    def somebody_adds_an_idle_backend(self, name: str, pool: str, first: bool) -> None:
        """Perhaps one that is there already, of a rule that is claimed; preflight would refuse it."""

        def change(obj: dict[str, Any]) -> None:
            refs = _refs(obj)
            listed = [each["name"] for each in refs].count(pool)
            if refs and listed <= (pool != "idle" and CLAIM in annotations_of(obj)):
                refs.insert(0 if first else len(refs), ref(pool, 0))

        self.edit(name, change)

    @rule(name=NAMES, weight=st.integers(1, 99))
    def somebody_sets_weights(self, name: str, weight: int) -> None:
        def change(obj: dict[str, Any]) -> None:
            for each in _refs(obj):
                if each["name"] == CANARY:
                    each["weight"] = weight
                    self.world.drifted.add(name)

        self.edit(name, change)

    @rule(name=NAMES)
    def gitops_writes_what_is_in_its_repository(self, name: str) -> None:
        def change(obj: dict[str, Any]) -> None:
            claim = readable(obj)
            if share(obj) and (claim is None or claim.committed):
                self.world.drifted.add(name)  # what was promoted, or may only be completed
            obj["spec"] = copy.deepcopy(self.world.found[name]["spec"])

        self.edit(name, change)

    @rule(name=NAMES, claim=st.sampled_from([None, "", "{}", '{"places": []}']))
    def somebody_spoils_the_claim(self, name: str, claim: str | None) -> None:
        """What it says of the route is lost, and with it who may put that back."""

        def change(obj: dict[str, Any]) -> None:
            annotations = obj["metadata"].get("annotations") or {}
            if annotations.pop(CLAIM, None) is not None:
                obj["metadata"]["annotations"] = annotations | ({} if claim is None else {CLAIM: claim})
                self.world.drifted.add(name)

        self.edit(name, change)

    @rule(name=NAMES)
    def somebody_deletes_a_route(self, name: str) -> None:
        if name in self.world.objects:
            self.world.objects.remove(name)

    @rule(name=NAMES, copies=st.integers(1, 2))
    def somebody_makes_other_rules_of_ours(self, name: str, copies: int) -> None:
        """It matches something else from then on, or is split in two."""

        def change(obj: dict[str, Any]) -> None:
            if (ours := our_rule(obj)) is None or CLAIM not in annotations_of(obj):
                return
            self.world.drifted.add(name)
            paths = [[{"path": {"type": "Exact", "value": f"/{number}"}}] for number in range(copies)]
            made = [copy.deepcopy(ours) | {"matches": matches} for matches in paths]
            obj["spec"]["rules"] = [rule for rule in obj["spec"]["rules"] if rule is not ours] + made

        self.edit(name, change)

    @rule(name=NAMES, whole=st.booleans())
    def somebody_makes_a_route_anew(self, name: str, whole: bool) -> None:
        """As it is, or as it is in a repository, which knows of no rollout."""
        if name not in self.world.objects:
            return
        obj = copy.deepcopy(self.world.objects[name])
        if not whole:
            obj["spec"] = copy.deepcopy(self.world.found[name]["spec"])
            obj["metadata"].pop("annotations", None)
            self.world.drifted.add(name)
        self.world.objects.remove(name)
        self.world.objects.create(obj | {"metadata": obj["metadata"] | {"uid": f"{name}-{self.anew()}"}})

    def anew(self) -> int:
        self.made = getattr(self, "made", 0) + 1
        return self.made

    @rule(
        name=NAMES,
        field=st.sampled_from(["renewTime", "leaseDurationSeconds", "holderIdentity", "all"]),
        value=st.sampled_from(["2099-01-01T00:00:00.000000Z", 2**31 - 1, None]),
    )
    def somebody_edits_a_lease(self, name: str, field: str, value: object) -> None:
        lease = self.world.leases.get(f"httproute-{name}")
        if lease and field == "all":
            del self.world.leases[f"httproute-{name}"]
        elif lease:
            lease["spec"][field] = value
            lease["metadata"]["resourceVersion"] += "1"

    @rule(earlier=st.sampled_from([60.0, 3600.0]))
    def the_clock_is_set_back(self, earlier: float) -> None:
        self.world.clock = max(1000.0, self.world.clock - earlier)

    def edit(self, name: str, change: Change) -> None:
        """As somebody does who knows of no rollout."""
        if name in self.world.objects:
            self.world.objects.edit(name, change)

    @invariant()
    def the_laws_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Pods come back, and whoever watches brings every run back; then all objects ended alike."""
        if not hasattr(self, "world"):
            return
        world = self.world
        if self.dies:
            self.nothing_is_left_to_a_dead_canary()
        world.pods = {STABLE: PODS, CANARY: PODS}
        put_back(cast(Cluster, world), "ben", "it is over")
        for which in range(len(self.runs)):
            self.act(which, "resume", 0)  # what is paused ends by itself no more
        if self.guarded:
            world.clock += 86400.0
            for _ in range(3):
                self.look(0)
        else:
            for run in [*self.runs, *self.runs]:
                with suppress(RolloutError):
                    run.rollback()
        world.check()
        untouched = set(world.objects) - world.drifted
        promoted = {name for name in untouched if world.promoted(name)}
        as_found = {name for name in untouched if world.as_found(name)}
        astray = {name: world.objects[name] for name in untouched - promoted - as_found}
        assert not astray, f"left astray: {astray}"
        assert not (promoted and as_found), "one route was promoted and another was not"

    def nothing_is_left_to_a_dead_canary(self) -> None:
        """By a guardian, whatever others have made of what it was given, unless nobody can read that."""
        self.world.pods = {STABLE: PODS, CANARY: 0}
        for later in (60.0, 5.0, 5.0):
            self.world.clock += later
            self.look(0)
        lost = {
            name: obj
            for name, obj in self.world.objects.items()
            if (claim := readable(obj)) and leads_to(obj, claim, CANARY)
        }
        assert not lost, f"traffic is lost: {lost}"


def _refs(obj: dict[str, Any]) -> list[dict[str, Any]]:
    """The weighted list of the rule that moves."""
    refs: list[dict[str, Any]] = (our_rule(obj) or {"backendRefs": []})["backendRefs"]
    return refs
