"""Schedules of tasks and accidents for which the laws of moving traffic must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.routing.claim import read_claim
from tests.support.routes import ref, service
from tests.support.traffic_world import CANARY, Fate, Killed, Passing, Run, World
from tests.support.traffic_world import rule as our_rule

VERBS = ("attach", "pass_", "shift", "shift", "alarm", "promote", "rollback")
FATES = st.lists(st.sampled_from([Fate.FINE] * 12 + list(Fate)), max_size=24)
RUNS = st.sampled_from([0, 0, 0, 1, 2])
RACES = st.permutations(["shift", "promote", "alarm", "rollback"])
ACTS = st.tuples(RUNS, st.sampled_from(VERBS), st.integers(0, 3))


class TrafficMachine(RuleBasedStateMachine):
    """Three tries (two of one run, one of another Airflow) over one or two routes."""

    @initialize(routes=st.integers(1, 2), others=st.sampled_from([0, 40]))
    def begin(self, routes: int, others: int) -> None:
        self.world = World(routes, others)
        self.runs = [Run(self.world, token) for token in ("first", "second", "elsewhere")]
        self.world.runs = self.runs

    def act(self, which: int, verb: str, step: int) -> None:
        """One task of one run; whatever it raises ends that task alone."""
        task: Callable[[int], None] = getattr(self.runs[which], verb)
        with suppress(RolloutError, Passing, Killed):
            task(step)

    @rule(act=ACTS, fates=FATES, meanwhile=st.none() | ACTS)
    def one_task(
        self, act: tuple[int, str, int], fates: list[Fate], meanwhile: tuple[int, str, int] | None
    ) -> None:
        self.world.fates = list(fates)
        if meanwhile:
            self.world.meanwhile = [lambda: self.act(*meanwhile)]
        self.act(*act)
        self.world.fates, self.world.meanwhile = [], []

    @rule(which=RUNS, fates=FATES, upto=st.integers(0, 3), alarm=st.none() | st.integers(1, 2))
    def a_rollout(self, which: int, fates: list[Fate], upto: int, alarm: int | None) -> None:
        """Task after task in their order, whatever happens to one, and none hears of an alarm."""
        self.world.fates = list(fates)
        for verb in ("attach", "pass_"):
            self.act(which, verb, 0)
        for step in range(1, upto + 1):
            for verb in ("shift", "pass_"):
                self.act(which, verb, step)
        self.world.fates = []

    @rule(
        which=RUNS, step=st.integers(1, 3), verbs=st.permutations(["shift", "promote", "alarm", "rollback"])
    )
    def a_race(self, which: int, step: int, verbs: list[str]) -> None:
        """Two tasks of one run at once: the second acts between the first one's reading and its writing."""
        self.world.meanwhile = [lambda: self.act(which, verbs[1], step)]
        self.act(which, verbs[0], step)
        self.world.meanwhile = []

    @rule(name=st.integers(0, 1))
    def somebody_puts_a_rule_above(self, name: int) -> None:
        if (obj := self.world.objects.get(f"route-{name}")) and len(obj["spec"]["rules"]) < 6:
            above = copy.deepcopy(our_rule(obj)) or {}
            if read_claim(obj) is None:
                above["backendRefs"] = [service("web")]  # else the next rollout would move it too
            number = len(obj["spec"]["rules"])
            above["matches"] = [{"path": {"type": "Exact", "value": f"/{number}"}}]
            obj["spec"]["rules"].insert(0, above)

    @rule(name=st.integers(0, 1))
    def somebody_adds_an_idle_backend(self, name: int) -> None:
        if obj := self.world.objects.get(f"route-{name}"):
            refs = (our_rule(obj) or {"backendRefs": []})["backendRefs"]
            if all(each["name"] != "idle" for each in refs):
                refs.append(ref("idle", 0))

    @rule(name=st.integers(0, 1), weight=st.integers(1, 99))
    def somebody_sets_weights(self, name: int, weight: int) -> None:
        if obj := self.world.objects.get(f"route-{name}"):
            for each in (our_rule(obj) or {"backendRefs": []})["backendRefs"]:
                if each["name"] == CANARY:
                    each["weight"] = weight
                    self.world.drifted.add(f"route-{name}")

    @invariant()
    def the_laws_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Whoever watches brings every run back; then all objects ended alike."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for run in [*self.runs, *self.runs]:
            with suppress(RolloutError):
                run.rollback()
        world.check()
        untouched = [name for name in world.objects if name not in world.drifted]
        promoted = [name for name in untouched if world.promoted(name)]
        as_found = [name for name in untouched if world.as_found(name)]
        assert sorted([*promoted, *as_found]) == sorted(untouched), "a route was left astray"
        assert not (promoted and as_found), "one route was promoted and another was not"
