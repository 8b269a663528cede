"""What the console shows, as plain JSON: from Airflow's database, clusters and metrics stores.

Each answer is made once for however many look, and kept for a moment in this process alone, so that any
number of API servers may answer, and none of them writes.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from inference_rollouts.clients import Clients
from inference_rollouts.console.cluster import Claims, Place, Surroundings, place_of
from inference_rollouts.console.kept import Kept
from inference_rollouts.console.live import LiveStep, LiveView
from inference_rollouts.console.runs import PlanDag
from inference_rollouts.core.errors import (
    CommandRefused,
    DecisionRecordBroken,
    PassingError,
    PlanInvalid,
    PrometheusUnavailable,
    RolloutError,
)
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.decision_record import StepRecord, read, windows_in
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.judging.rejudge import Outcome, recorded, rejudged
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.approval import watched as watched_step
from inference_rollouts.core.reporting.cost import cost_of
from inference_rollouts.core.reporting.curves import curves
from inference_rollouts.core.reporting.ladder import Rung, happenings, judgement_of, ladder
from inference_rollouts.core.reporting.links import bad_shares, graph_page
from inference_rollouts.core.reporting.listing import Line, in_order, line
from inference_rollouts.core.reporting.offers import offers
from inference_rollouts.core.reporting.pods import deaths
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.command import command
from inference_rollouts.triggers.publishing import STATUS

FRESH = 2.0  # seconds for which an answer is kept
SLOW = 5.0  # the same of what changes seldom
FOREVER = float("inf")  # the same of what never changes
WAIT = 1.5  # seconds for which a page waits for a cluster that it has not heard of yet
ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # under which a record is judged again

log = logging.getLogger(__name__)


class Source(Protocol):
    """What the pages are made of. Everything is JSON; None: there is no such thing."""

    def overview(self) -> dict[str, Any]:
        """All rollouts, their history and plans; each has the `dag` by which people may see it."""

    def one(self, dag: str, run: str) -> dict[str, Any] | None:
        """One rollout: its line, steps, events, pods, verdict, question, report."""

    def series(self, dag: str, run: str) -> dict[str, Any] | None:
        """Its charts."""

    def rejudged(self, dag: str, run: str, alpha: float) -> dict[str, Any] | None:
        """Its record judged again under another alpha. Raises DecisionRecordBroken."""

    def plan(self, dag: str) -> dict[str, Any] | None:
        """A plan, and the latest look ahead at what it would do."""

    def command(self, dag: str, run: str, what: str, who: str, why: str) -> str:
        """Command a rollout; what happens to the traffic now. Raises what `rollout.command` raises."""


class World(Protocol):
    """Where the answers come from. What is not there raises what its clients raise."""

    def dags(self) -> list[PlanDag]:
        """The DAGs of all plans."""

    def plans(self) -> dict[str, Plan]:
        """Plans that are valid, by the ids of their DAGs."""

    def in_flight(self) -> list[SeenRun]:
        """Every run that is not over."""

    def ended(self, dags: Sequence[str] | None = None) -> list[SeenRun]:
        """The latest that are, of these DAGs or of all."""

    def whole(self, dag: str, run: str) -> SeenRun | None:
        """One run, with all that its tasks left."""

    def frozen(self, dag: str, run: str) -> Frozen:
        """What preflight froze."""

    def claims(self, place: Place) -> Claims:
        """What is claimed on a cluster."""

    def surroundings(self, frozen: Frozen) -> Surroundings:
        """Pods and Events."""

    def clients(self, frozen: Frozen) -> Clients:
        """The clients of a run."""


class RolloutSource:
    """The Source of a World."""

    def __init__(self, world: World, now: Callable[[], float] = time.time) -> None:
        self._world = world
        self._now = now
        self._frozen: Kept[Frozen | None] = Kept(FOREVER, most=1024)
        self._lists: Kept[dict[str, Any]] = Kept(FRESH)
        self._runs: Kept[SeenRun | None] = Kept(FRESH)
        self._ones: Kept[dict[str, Any] | None] = Kept(FRESH)
        self._charts: Kept[dict[str, Any] | None] = Kept(FRESH)
        self._views: Kept[LiveView] = Kept(FRESH, patience=WAIT)
        self._steps: Kept[LiveStep] = Kept(FOREVER, most=64)
        self._claims: Kept[Claims] = Kept(FRESH, patience=WAIT)
        self._around: Kept[Surroundings] = Kept(SLOW, patience=WAIT)
        self._again: Kept[dict[str, Any]] = Kept(SLOW)

    def overview(self) -> dict[str, Any]:
        return self._lists.get("all", self._overview)

    def one(self, dag: str, run: str) -> dict[str, Any] | None:
        return self._ones.get((dag, run), lambda: self._one(dag, run))

    def series(self, dag: str, run: str) -> dict[str, Any] | None:
        return self._charts.get((dag, run), lambda: self._series(dag, run))

    def rejudged(self, dag: str, run: str, alpha: float) -> dict[str, Any] | None:
        seen = self._run(dag, run)
        frozen = self._plan_of(seen) if seen else None
        if seen is None or frozen is None:
            return None
        closest = min(ALPHAS, key=lambda each: abs(each - alpha))
        return self._again.get((dag, run, closest), lambda: self._judged_again(seen, frozen, closest))

    def plan(self, dag: str) -> dict[str, Any] | None:
        named = next((each for each in self._world.dags() if each.dag == dag), None)
        if named is None:
            return None
        looked = [run for run in (*self._world.in_flight(), *self._world.ended([dag])) if run.dag == dag]
        return {
            "now": self._now(),
            **asdict(named),
            "plan": _fields(self._world.plans().get(dag)),
            "forecast": next(filter(None, map(self._forecast, looked[:5])), None),
            "in_flight": next((run.run for run in looked if not run.is_over), None),
        }

    def command(self, dag: str, run: str, what: str, who: str, why: str) -> str:
        seen = self._run(dag, run)
        frozen = self._plan_of(seen) if seen else None
        claims = self._claimed(frozen) if frozen else None
        if frozen is None or claims is None or frozen.token not in claims.claims:
            raise CommandRefused("This run claims nothing now, so there is nothing to command.")
        log.info("%s: %s by %s: %s", run, what, who, why)
        return command(self._world.clients(frozen).cluster, frozen.plan.name, what, who, why)

    def _stops(self, runs: Sequence[SeenRun]) -> Iterator[dict[str, Any]]:
        """Where all rollouts are stopped, by whom and why, once a namespace."""
        told = set()
        for run in runs:
            frozen = self._plan_of(run)
            claims = self._claimed(frozen) if frozen else None
            if frozen and claims and claims.stop and place_of(frozen) not in told:
                told.add(place_of(frozen))
                yield {"dag": run.dag, "namespace": frozen.plan.namespace, "words": claims.stop}

    def _overview(self) -> dict[str, Any]:
        now, plans = self._now(), self._world.plans()
        flying = self._world.in_flight()
        lines = [self._line(run, now) for run in flying]
        ended = [self._line(run, now) for run in self._world.ended()]
        return {
            "now": now,
            "rollouts": [each.to_json() for each in in_order(lines)],
            "history": [each.to_json() for each in ended],
            "stops": list(self._stops(flying)),
            "plans": [{**asdict(each), "plan": _fields(plans.get(each.dag))} for each in self._world.dags()],
        }

    def _line(self, run: SeenRun, now: float) -> Line:
        frozen = self._plan_of(run)
        status, watched = self._status(run, frozen)
        return line(run, frozen.plan if frozen else None, status, watched, now)

    def _status(self, run: SeenRun, frozen: Frozen | None) -> tuple[Status | None, bool | None]:
        """The newest status of a run, and whether it is watched: the claims know it best."""
        left = run.left("", STATUS)
        status = Status.from_json(left) if left else None
        if run.is_over or frozen is None or (claims := self._claimed(frozen)) is None:
            return status, None
        return claims.statuses.get(frozen.token, status), claims.watched.get(frozen.token)

    def _claimed(self, frozen: Frozen) -> Claims | None:
        """What is claimed where a run is; None where nobody knows."""
        place = place_of(frozen)
        try:
            return self._claims.get(place, lambda: self._world.claims(place))
        except Exception as error:
            log.debug("nothing is known of the claims in namespace %s: %s", place[1], error)
            return None

    def _run(self, dag: str, run: str) -> SeenRun | None:
        return self._runs.get((dag, run), lambda: self._world.whole(dag, run))

    def _plan_of(self, run: SeenRun) -> Frozen | None:
        """What preflight froze; None while it has not, or where nobody can read it."""

        def freeze() -> Frozen | None:
            try:
                return self._world.frozen(run.dag, run.run)
            except (PlanInvalid, KeyError) as error:
                log.info("what preflight froze for %s is unreadable: %s", run.run, error)
                return None

        key = (run.dag, run.run, run.frozen)
        return self._frozen.get(key, freeze) if run.frozen is not None else None

    def _one(self, dag: str, run: str) -> dict[str, Any] | None:
        seen = self._run(dag, run)
        if seen is None:
            return None
        now, frozen = self._now(), self._plan_of(seen)
        status, watched = self._status(seen, frozen)
        shown = line(seen, frozen.plan if frozen else None, status, watched, now)
        whole: dict[str, Any] = {
            "now": now,
            "line": shown.to_json(),
            "status": status.to_json() if status else None,
            "question": asdict(seen.question) if seen.question else None,
            "failures": [str(value) for (_, key), value in seen.xcoms.items() if key == "failure"],
            "report": seen.left("report", "report") if seen.is_over else None,
        }
        return whole | (self._details(seen, frozen, status, now) if frozen else {"ladder": [], "events": []})

    def _details(self, seen: SeenRun, frozen: Frozen, status: Status | None, now: float) -> dict[str, Any]:
        plan = frozen.plan
        around, why = self._surroundings(seen, frozen)
        live = self._live(seen, frozen)
        windows = list(self._windows(seen, frozen, live))
        events = happenings(plan, seen, status)
        if around:
            events += [*around.events, *deaths((*around.canary, *around.stable), frozen.began)]
        return {
            "plan": _fields(plan),
            "ladder": [rung.to_json() for rung in ladder(plan, seen, status)],
            "events": [each.to_json() for each in sorted(events, key=lambda each: each.time)],
            "pods": {side: [pod.to_json() for pod in getattr(around, side)] for side in ("canary", "stable")}
            if around
            else None,
            "pods_unknown": why,
            "judgement": _judgement(seen, plan, live),
            "turning": list(live.turning) if live else [],
            "cost": cost_of(plan, frozen.metric_set, windows, _held(seen, now)).to_json(),
            "graph": self._graph(frozen, now),
            "record": list(_observations(seen, plan)),
            "commands": self._offers(seen, frozen, now),
            "tasks": {task: each.state for task, each in seen.tasks.items()},
        }

    def _offers(self, seen: SeenRun, frozen: Frozen, now: float) -> list[dict[str, Any]]:
        claims = None if seen.is_over else self._claimed(frozen)
        held = claims.claims.get(frozen.token, ()) if claims else ()
        return [offer.to_json() for offer in offers(held, now)]

    def _surroundings(self, seen: SeenRun, frozen: Frozen) -> tuple[Surroundings | None, str]:
        if seen.is_over:
            return None, "The rollout is over."
        try:
            return self._around.get(frozen.token, lambda: self._world.surroundings(frozen)), ""
        except TimeoutError:
            return None, "The cluster has not answered yet."
        except (RolloutError, PassingError) as error:
            return None, str(error)

    def _graph(self, frozen: Frozen, now: float) -> str:
        """The page of the metrics store; empty where it is asked with credentials that people do not have."""
        plan = frozen.plan
        try:
            access = self._world.clients(frozen).prometheus.access  # type: ignore[attr-defined]
            shares = bad_shares(frozen.metric_set, plan.arm(plan.canary), plan.arm(plan.stable))
            return graph_page(access.url, shares, round(max(600.0, now - frozen.began)))
        except Exception:
            return ""

    def _live(self, seen: SeenRun, frozen: Frozen) -> LiveView | None:
        """The step that stands, counted; None where none does, or the metrics store does not answer."""
        if seen.is_over or (step := self._standing_step(seen, frozen)) is None:
            return None
        prometheus = self._world.clients(frozen).prometheus
        try:
            return self._views.get((frozen.token, id(step)), lambda: step.look(prometheus, self._now()))
        except (PrometheusUnavailable, TimeoutError) as error:
            log.info("the step that stands is not counted: %s", error)
            return None

    def _standing_step(self, seen: SeenRun, frozen: Frozen) -> LiveStep | None:
        """The step whose judge has not concluded, or that is watched while something else is waited for."""
        rungs = ladder(frozen.plan, seen, None)
        current = next((rung for rung in reversed(rungs) if rung.since is not None), None)
        if current is None:
            return None
        judgement = judgement_of(seen, current.step)
        key = (frozen.token, current.step, current.since, bool(judgement))
        return self._steps.get(key, lambda: _step_of(frozen, current, seen, judgement))

    def _windows(self, seen: SeenRun, frozen: Frozen, live: LiveView | None) -> Iterator[WindowCounts]:
        """Of all steps, in order: from the records of those that were judged, and of the one that stands."""
        for number in range(1, len(frozen.plan.all_steps) + 1):
            for task in ("judge", "ask"):
                if lines := seen.left(f"step_{number}.{task}", "record"):
                    try:
                        yield from windows_in(lines)
                    except DecisionRecordBroken as error:
                        log.info("%s", error)
        if live:
            yield from live.windows

    def _series(self, dag: str, run: str) -> dict[str, Any] | None:
        seen = self._run(dag, run)
        frozen = self._plan_of(seen) if seen else None
        if seen is None or frozen is None:
            return None
        live = self._live(seen, frozen)
        policy = frozen.plan.analysis
        return {
            "now": self._now(),
            **curves(frozen.metric_set, list(self._windows(seen, frozen, live))),
            "evidence": [*_evidence(seen, frozen), *(live.evidence if live else ())],
            "alarm_at": 1 / policy.alpha,
            "good_at": 1 / policy.beta if policy.margin is not None else None,
            "goodness": _goodness(live.judgement if live else None),
            "asked": _asked(seen, frozen),
        }

    def _judged_again(self, seen: SeenRun, frozen: Frozen, alpha: float) -> dict[str, Any]:
        records = list(self._records(seen, frozen))
        policy = frozen.plan.analysis.model_copy(update={"alpha": alpha})
        return {
            "alpha": alpha,
            "alphas": ALPHAS,
            "was": _outcome(recorded(records)) | {"alpha": frozen.plan.analysis.alpha},
            "would": _outcome(rejudged(records, policy)),
        }

    def _records(self, seen: SeenRun, frozen: Frozen) -> Iterator[StepRecord]:
        for number in range(1, len(frozen.plan.all_steps) + 1):
            if lines := seen.left(f"step_{number}.judge", "record"):
                yield read(lines)
        if not seen.is_over and self._live(seen, frozen):
            step = self._standing_step(seen, frozen)
            if step and step.is_judged:
                yield step.record()

    def _forecast(self, run: SeenRun) -> dict[str, Any] | None:
        """The latest look ahead of a plan."""
        whole = self._run(run.dag, run.run)
        text = whole.left("preflight", "forecast") if whole else None
        failed = whole.left("preflight", "failure") if whole and not text else None
        if whole is None or not (text or failed):
            return None
        return {"run": run.run, "at": run.began, "text": text, "refused": failed}


def _fields(plan: Plan | None) -> dict[str, Any] | None:
    """What a page says of a plan."""
    if plan is None:
        return None
    return {
        "name": plan.name,
        "kind": plan.kind.value,
        "description": plan.description,
        "namespace": plan.namespace,
        "stable": plan.stable,
        "canary": plan.canary,
        "metrics": list(plan.metrics),
        "steps": [
            {"weight": step.weight, "mirror": step.mirror, "bake": step.bake} for step in plan.all_steps
        ],
        "initial_delay": plan.initial_delay,
        "interval": plan.analysis.interval,
        "alpha": plan.analysis.alpha,
        "schedule": str(plan.schedule) if plan.schedule else "",
        "windows": [str(window) for window in plan.windows],
        "blackouts": [str(blackout) for blackout in plan.blackouts],
    }


def _step_of(frozen: Frozen, rung: Rung, seen: SeenRun, judgement: dict[str, Any] | None) -> LiveStep:
    assert rung.since is not None
    if judgement:
        last = Judgement.from_json(judgement)
        watching, context = watched_step(frozen, rung.step, last.windows_end or last.time)
        return LiveStep(watching, context, last.carried, is_judged=False)
    before = judgement_of(seen, rung.step - 1) if rung.step > 1 else None
    carried = Carried.from_json(before["carried"]) if before else Carried()
    return LiveStep(frozen, frozen.plan.step_context(rung.step, rung.since), carried)


def _judgement(seen: SeenRun, plan: Plan, live: LiveView | None) -> dict[str, Any] | None:
    """The figures by metric: of the step that stands, else of the last that was judged."""
    if live:
        return _figures(live.judgement.to_json())
    numbers = range(len(plan.all_steps), 0, -1)
    last = next((found for number in numbers if (found := judgement_of(seen, number))), None)
    return _figures(last) if last else None


def _figures(judgement: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in judgement.items() if key != "carried"}


def _evidence(seen: SeenRun, frozen: Frozen) -> Iterator[Sequence[float]]:
    """Time and evidence of each observation of the steps that were judged."""
    for number in range(1, len(frozen.plan.all_steps) + 1):
        for task in ("judge", "ask"):
            yield from ((point[0], point[2]) for point in seen.left(f"step_{number}.{task}", "points") or ())


def _observations(seen: SeenRun, plan: Plan) -> Iterator[dict[str, Any]]:
    """What the decision records of the steps that were judged say, observation by observation."""
    for number in range(1, len(plan.all_steps) + 1):
        for task in ("judge", "ask"):
            for text in seen.left(f"step_{number}.{task}", "record") or ():
                if judgement := json.loads(text).get("judgement"):
                    yield {key: judgement[key] for key in ("step", "time", "verdict", "reason", "evidence")}


def _goodness(judgement: Judgement | None) -> float | None:
    """The least evidence that the canary is good enough, of the metrics that promotion asks for."""
    rows = judgement.rows if judgement else ()
    return min((row.goodness for row in rows if row.goodness is not None), default=None)


def _asked(seen: SeenRun, frozen: Frozen) -> list[tuple[float, float]]:
    """When the canary was given which share (0 to 1), to the end of the run."""
    rungs = ladder(frozen.plan, seen, None)
    asked = [(rung.since, (rung.percent or 0) / 100) for rung in rungs if rung.since is not None]
    asked += [(rung.until, 0.0) for rung in rungs if rung.verdict == Verdict.ROLLBACK and rung.until]
    if seen.is_over and asked and seen.ended is not None:
        promoted = seen.left("report", "outcome") == "promoted"
        asked.append((seen.ended, 1.0 if promoted else 0.0))
    return asked


def _held(seen: SeenRun, now: float) -> float:
    """For how long the canary's pods were there (s)."""
    deployed = seen.tasks.get("deploy_pool")
    if deployed is None or deployed.began is None:
        return 0.0
    return max(0.0, (seen.ended or now) - deployed.began)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {"verdict": outcome.verdict.value, "reason": outcome.reason, "seconds": outcome.seconds}
