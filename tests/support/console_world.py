"""Rollouts in every state, played in memory by the real judge: what the console's pages are tested with.

Traffic is drawn at random, with a fixed seed, and counted as a metrics store counts it; steps that are over
were judged by the judge, and their tasks left what the real ones leave.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.console.cluster import Claims, Place, Surroundings
from inference_rollouts.console.runs import FINISHED, PlanDag
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.decision_record import DecisionRecorder
from inference_rollouts.core.judging.judge import Health, absorb, begin, conclude, handing_on
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.judging.queries import queries
from inference_rollouts.core.plan.plan import Plan, PoolPlan, parse_plan
from inference_rollouts.core.reporting.approval import GO_ON, ROLL_BACK, question
from inference_rollouts.core.reporting.chart import Point
from inference_rollouts.core.reporting.ladder import Happening
from inference_rollouts.core.reporting.pods import SeenPod
from inference_rollouts.core.reporting.report import Cause, Outcome, markdown
from inference_rollouts.core.reporting.seen import SeenQuestion, SeenRun, SeenTask
from inference_rollouts.core.reporting.status import Status, progress_of, status_of
from inference_rollouts.core.routing.claim import Claim, Command, Owner, Phase
from inference_rollouts.core.routing.claim import Place as Rule
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.observation import snapshots
from inference_rollouts.rollout.undo import Aftermath
from tests.support.console_traffic import PODS, TAILS, Traffic
from tests.support.plans import plan_file

DELAY, BAKE, EVERY = 15.0, 150.0, 7.5
STEPS = (5, 20, 50, 100)
HEALTHY = Health(ready_canary=PODS, ready_stable=PODS)
NOW = 1795718400.0  # 2026-11-26 18:40 UTC, when all of this happens
STEP_SECONDS = DELAY + BAKE + 5.0


@dataclass
class Played:
    """A rollout that began `age` seconds ago; `over` says how it ended."""

    name: str
    stable: str
    canary: str
    age: float
    failing: float = 0.004
    slower: float = 1.0
    asks: bool = False
    over: Outcome | None = None
    phase: Phase = Phase.PROGRESSING
    watched: bool = True
    by: str = "mara"
    seed: int = 1
    ended: float = 0.0  # seconds ago

    def __post_init__(self) -> None:
        self.now = NOW - self.ended
        self.began = self.now - self.age
        self.run_id = f"manual__2026-11-26T{self.seed % 24:02d}:14:07+00:00"
        self.plan = plan_of(self.name, self.stable, self.canary, asks=self.asks)
        self.dag = self.plan.dag_id
        self.frozen = Frozen(
            run=f"{self.dag}/{self.run_id}",
            plan=self.plan,
            parents=(),
            targets=(),
            metric_set=load_metric_set(*self.plan.metrics),
            manifests=(),
            stable_pods=PODS,
            began=self.began,
            token=f"{self.name}-{self.seed}",
            link=f"http://localhost:8080/dags/{self.dag}",
        )
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.tasks = {
            "preflight": SeenTask("success", self.began, self.began + 4),
            "deploy_pool": SeenTask("success", self.began + 5, self.began + 52),
            "warm_up": SeenTask("success", self.began + 53, self.began + 58),
        }
        self.question: SeenQuestion | None = None
        self._steps()
        self._end()

    def _steps(self) -> None:
        first = self.began + 60
        starts = [first + STEP_SECONDS * place for place in range(len(STEPS))]
        most = 20 if self.asks else 100
        given = [share for share in STEPS if share <= most]
        shares = [(at, share / 100) for at, share in zip(starts, given, strict=False) if at < self.now]
        self.traffic = Traffic(
            self.frozen.metric_set,
            (self.canary, self.stable),
            first - 20,
            int(self.now - first + 400) if self.now > first else 60,
            shares,
            self.failing,
            self.slower,
            self.seed,
        )
        self.judgement: Judgement | None = None
        self.percent = self.step = 0
        self.since = 0.0
        carried = Carried()
        for number, at in enumerate(starts, start=1):
            if at >= self.now:
                break
            self.step, self.percent, self.since = number, STEPS[number - 1], at
            self.xcoms[f"step_{number}.shift", "return_value"] = {
                "percent": self.percent,
                "mirror": 0,
                "since": at,
            }
            self.tasks[f"step_{number}.shift"] = SeenTask("success", at - 3, at)
            judged = self._judged(number, at, carried)
            final = judged.verdict.final
            self.tasks[f"step_{number}.judge"] = (
                SeenTask("success", at, judged.time) if final else SeenTask("deferred", at)
            )
            self.judgement = judged
            if not judged.verdict.final:
                break
            carried = judged.handed_on
            if judged.verdict is Verdict.ROLLBACK:
                self.traffic.until = judged.time
            if judged.verdict is not Verdict.ADVANCE or self._asked(number, judged):
                break

    def _judged(self, number: int, since: float, carried: Carried) -> Judgement:
        """The step as its judge saw it, up to now; what a final verdict leaves is left."""
        plan, metric_set = self.plan, self.frozen.metric_set
        step = plan.step_context(number, since)
        arms = plan.arm(plan.canary), plan.arm(plan.stable)
        counters, sums = (
            Counters(metric_set, *arms, step.anchor),
            begin(plan.analysis, metric_set, step, carried),
        )
        asked = queries(metric_set, *arms)
        recorder = DecisionRecorder(plan.analysis, metric_set, step, carried, asked)
        lines, points = [recorder.head], []
        ticks = np.arange(step.anchor, self.now, plan.analysis.interval).tolist()
        judgement = conclude(sums, HEALTHY, since)
        for seen in snapshots(self.traffic, asked, ticks) if len(ticks) > 1 else []:
            if window := counters.observe(seen):
                sums = absorb(sums, window)
                recorder.window(window)
            judgement = conclude(sums, HEALTHY, seen.time + 0.5)
            if line := recorder.observation(HEALTHY, judgement):
                lines.append(line)
            points.append(astuple(_point(judgement)))
            if judgement.verdict.final:
                judgement = handing_on(judgement, sums, HEALTHY)
                task = f"step_{number}.judge"
                self.xcoms |= {
                    (task, "return_value"): judgement.to_json(),
                    (task, "record"): lines,
                    (task, "points"): points,
                }
                break
        return judgement

    def _asked(self, number: int, judgement: Judgement) -> bool:
        asked = question(self.plan, judgement)
        if asked is None:
            return False
        self.tasks[f"step_{number}.ask"] = SeenTask("awaiting_input", judgement.time + 1)
        self.question = SeenQuestion(
            f"step_{number}.ask", asked.subject, asked.body, (GO_ON, ROLL_BACK), asked.default, judgement.time
        )
        return True

    def _end(self) -> None:
        if self.over is None:
            return
        self.question = None
        reason = self.judgement.reason if self.judgement else "the run was stopped before it was decided"
        cause = Cause(reason, f"the judge of step {self.step}")
        judgements = [
            value for (task, key), value in self.xcoms.items() if key == "return_value" and "judge" in task
        ]
        self.xcoms |= {
            ("report", "outcome"): self.over.value,
            ("report", "reason"): reason,
            ("report", "report"): markdown(self.plan, self.over, cause, judgements),
        }
        task = "promote" if self.over is Outcome.PROMOTED else "rollback"
        self.tasks[task] = SeenTask("success", self.now - 3, self.now - 1)

    def called(self, name: str, number: int) -> Played:
        """The same rollout of another plan."""
        twin = copy.copy(self)
        twin.name, twin.stable, twin.canary = name, f"{name}-a", f"{name}-b"
        names = {"name": name, "stable": twin.stable, "canary": twin.canary}
        twin.plan = self.plan.model_copy(update=names)
        twin.dag = twin.plan.dag_id
        twin.frozen = replace(self.frozen, plan=twin.plan, token=f"{name}-{number}")
        return twin

    @property
    def claim(self) -> Claim:
        at_work = self.phase is not Phase.RETURNING
        return Claim(
            token=self.frozen.token,
            owner=Owner(dag=self.dag, run=self.run_id),
            plan=self.name,
            stable=self.stable,
            canary=self.canary,
            steps=len(STEPS),
            places=(Rule(path="/spec/rules/0", found=({"name": self.stable},)),),
            phase=self.phase,
            step=self.step,
            percent=self.percent if at_work else 0,
            since=self.since,
            alarm=not at_work,
            command=_command(self.phase, self.now),
        )

    @property
    def status(self) -> Status:
        progress = progress_of(self.plan, self.judgement) if self.judgement else None
        since = time.strftime("%H:%M:%SZ", time.gmtime(self.since or self.began))
        watcher = f"triggerer airflow-0/71 since {since}"
        gone = "nobody, since triggerer airflow-0/71 was last seen 94 s ago"
        doing = "a person is asked" if self.question else ""
        return status_of([self.claim], progress, watcher if self.watched else gone, doing)

    @property
    def seen(self) -> SeenRun:
        over = self.over is not None
        state = ("success" if self.over is Outcome.PROMOTED else "failed") if over else "running"
        return SeenRun(
            dag=self.dag,
            run=self.run_id,
            state=state,
            began=self.began,
            ended=self.now if over else None,
            by=self.by,
            frozen=self.began,
            tasks=self.tasks,
            xcoms=self.xcoms | {("", "status"): self.status.to_json()},
            question=self.question,
        )


def _command(phase: Phase, now: float) -> Command | None:
    if phase is not Phase.PAUSED:
        return None
    return Command.model_validate(
        {"what": "pause", "who": "mara", "why": "a dashboard looks odd", "at": now - 240, "sequence": 1}
    )


def _point(judgement: Judgement) -> Point:
    canary, stable = judgement.recent_canary, judgement.recent_stable
    slow = (each.latency_p95 if each else None for each in (canary, stable))
    return Point(judgement.time, judgement.weight, judgement.evidence, *slow)


def plan_of(name: str, stable: str, canary: str, *, asks: bool = False) -> PoolPlan:
    """The plan llm under another name, with quick steps."""
    value = plan_file("llm") | {
        "name": name,
        "stable": stable,
        "canary": canary,
        "metrics": "vllm",
        "initial_delay": DELAY,
        "steps": [{"weight": weight, "bake": BAKE} for weight in STEPS],
    }
    value["analysis"] = {**value.get("analysis", {}), "interval": EVERY, "margin": 4.0, "on_timeout": "ask"}
    if asks:
        value["approvals"] = {"steps": [50]}
    return parse_plan(value).as_pool_plan


class PlayedWorld:
    """A World of these rollouts; `broken` are what its clusters answer instead."""

    def __init__(
        self, *played: Played, forecast: str = "", stop: str = "", broken: Exception | None = None
    ) -> None:
        self.stop = stop
        self.played = played
        self.forecast = forecast
        self.broken = broken
        self._by = {(each.dag, each.run_id): each for each in played}
        self._frozen = {each.frozen.token: each for each in played}

    def dags(self) -> list[PlanDag]:
        plans = {each.dag: each.plan for each in self.played}
        return [
            PlanDag(
                dag,
                plan.description,
                place == 3,
                NOW + 3600 * (place + 2) if place % 2 else None,
                False,
            )
            for place, (dag, plan) in enumerate(plans.items())
        ]

    def plans(self) -> dict[str, Plan]:
        return {each.dag: each.plan for each in self.played}

    def in_flight(self) -> list[SeenRun]:
        return [each.seen for each in self.played if each.over is None]

    def ended(self, dags: Sequence[str] | None = None, before: float | None = None) -> list[SeenRun]:
        over = [
            each
            for each in self.played
            if each.over and (dags is None or each.dag in dags) and (before is None or each.now < before)
        ]
        return [each.seen for each in sorted(over, key=lambda each: -each.now)[:FINISHED]]

    def whole(self, dag: str, run: str) -> SeenRun | None:
        played = self._by.get((dag, run))
        if played is None:
            return None
        looked = {("preflight", "forecast"): self.forecast} if self.forecast and played.over else {}
        seen = played.seen
        return SeenRun(
            **{name: getattr(seen, name) for name in seen.__slots__} | {"xcoms": {**seen.xcoms, **looked}}
        )

    def frozen(self, dag: str, run: str) -> Frozen:
        return self._by[dag, run].frozen

    def claims(self, place: Place) -> Claims:
        if self.broken:
            raise self.broken
        flying = [each for each in self.played if each.over is None]
        return Claims(
            {each.frozen.token: [each.claim] for each in flying if each.step},
            {each.frozen.token: each.status for each in flying},
            {each.frozen.token: each.watched for each in flying},
            self.stop,
        )

    def surroundings(self, frozen: Frozen) -> Surroundings:
        if self.broken:
            raise self.broken
        played = self._frozen[frozen.token]
        return Surroundings(
            tuple(_pods(played.canary, TAILS[0], "v0.32.0", played.began + 6, died=played.failing > 0.02)),
            tuple(_pods(played.stable, TAILS[1], "v0.31.0", played.began - 86400 * 9)),
            tuple(_told(played)),
        )

    def aftermath(self, frozen: Frozen) -> Aftermath:
        if self.broken:
            raise self.broken
        stable, canary = frozen.plan.stable, frozen.plan.canary
        return Aftermath(
            f"All traffic goes from {canary} back to {stable}. Guardrails watch it for 5 min: an alarm "
            f"sends it to {canary} again, else it stays."
        )

    def clients(self, frozen: Frozen) -> Any:
        return SimpleNamespace(prometheus=self._frozen[frozen.token].traffic)


def _pods(
    pool: str, tails: Sequence[str], version: str, since: float, *, died: bool = False
) -> Iterator[SeenPod]:
    for place, tail in enumerate(tails):
        ill = died and place == 1
        yield SeenPod(
            name=f"{pool}-{tail}",
            ready=not ill,
            phase="Running",
            restarts=2 if ill else 0,
            version=version,
            since=since,
            died=NOW - 40 if ill else None,
        )


def _told(played: Played) -> Iterator[Happening]:
    yield Happening(time=played.began + 52, kind="event", text=f"Attached: {played.canary} at weight 0")
    if played.phase is Phase.RETURNING and played.judgement:
        text = f"Retreated: {played.judgement.reason}"
        yield Happening(time=played.now, kind="warning", text=text)
