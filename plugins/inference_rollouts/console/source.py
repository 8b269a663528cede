"""What the console shows, as plain JSON: from Airflow's database, clusters and metrics stores.

Each answer is made once for however many look, and kept for a moment in this process alone, so that any
number of API servers may answer, and none of them writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from inference_rollouts.console.cluster import Place, place_of
from inference_rollouts.console.kept import FOREVER, FRESH, OF_DATABASE, SLOW, WAIT, Kept
from inference_rollouts.console.known import Known
from inference_rollouts.console.load import Load, load_between
from inference_rollouts.console.protocols import World
from inference_rollouts.console.runs import FINISHED
from inference_rollouts.console.shown import (
    asked,
    evidence,
    fields,
    goodness,
    held,
    judgement,
    observations,
    outcome,
)
from inference_rollouts.console.standing import Standing
from inference_rollouts.core.errors import (
    CommandRefused,
    PlanInvalid,
    PrometheusUnavailable,
)
from inference_rollouts.core.judging.rejudge import recorded, rejudged
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.cost import cost_of
from inference_rollouts.core.reporting.curves import curves
from inference_rollouts.core.reporting.ladder import happenings, ladder
from inference_rollouts.core.reporting.links import bad_shares, graph_page
from inference_rollouts.core.reporting.listing import Line, in_order, line
from inference_rollouts.core.reporting.offers import offers
from inference_rollouts.core.reporting.pods import deaths
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.control import Control
from inference_rollouts.triggers.publishing import STATUS

ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # under which a record is judged again

log = logging.getLogger(__name__)


class RolloutSource:
    """The Source of a World; `patience` (s) is for how long a page waits for what it has not heard of yet."""

    def __init__(self, world: World, now: Callable[[], float] = time.time, patience: float = WAIT) -> None:
        self._world = world
        self._now = now
        self._known = Known(world, patience)
        self._standing = Standing(world, self._known, now, patience)
        self._frozen: Kept[Frozen | None] = Kept(FOREVER, most=1024, workers=OF_DATABASE)
        self._lists: Kept[dict[str, Any]] = Kept(FRESH)
        self._runs: Kept[SeenRun | None] = Kept(FRESH, workers=OF_DATABASE, waits=patience)
        self._ones: Kept[dict[str, Any] | None] = Kept(FRESH)
        self._charts: Kept[dict[str, Any] | None] = Kept(FRESH)
        self._again: Kept[dict[str, Any]] = Kept(SLOW)
        self._plans: Kept[dict[str, Any] | None] = Kept(FRESH, workers=OF_DATABASE)
        self._older: Kept[dict[str, Any]] = Kept(SLOW, workers=OF_DATABASE)
        self._loads: Kept[Load | None] = Kept(SLOW, patience=patience)

    def overview(self) -> dict[str, Any]:
        return self._lists.get("all", self._overview)

    def history(self, before: float) -> dict[str, Any]:
        return self._older.get(before, lambda: self._history(before))

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
        of = {"over": seen.is_over, "steps": self._standing.recorded(seen, frozen)}
        key = (dag, run, closest, *of.values())
        return self._again.get(key, lambda: of | self._judged_again(seen, frozen, closest))

    def plan(self, dag: str) -> dict[str, Any] | None:
        return self._plans.get(dag, lambda: self._plan(dag))

    def _plan(self, dag: str) -> dict[str, Any] | None:
        named = next((each for each in self._world.dags() if each.dag == dag), None)
        if named is None:
            return None
        looked = [run for run in (*self._world.in_flight(), *self._world.ended([dag])) if run.dag == dag]
        return {
            "now": self._now(),
            **asdict(named),
            "plan": fields(self._world.plans().get(dag)),
            "forecast": next(filter(None, map(self._forecast, looked[:5])), None),
            "in_flight": next((run.run for run in looked if not run.is_over), None),
        }

    def command(self, dag: str, run: str, what: str, who: str, why: str) -> str:
        seen = self._run(dag, run)
        frozen = self._plan_of(seen) if seen else None
        if seen is None or frozen is None:
            raise CommandRefused("This run has frozen no plan, so it claims nothing that could be commanded.")
        log.info("%s: %s by %s: %s", run, what, who, why)
        control = Control(self._world.clients(frozen).cluster, frozen.targets, frozen.token)
        words = control.give(what, who, why)
        self._known.forget(place_of(frozen.plan))
        self._ones.forget((dag, run))
        self._lists.forget("all")
        return words

    def _stops(self, runs: Sequence[SeenRun], plans: Mapping[str, Plan]) -> Iterator[dict[str, Any]]:
        """Where all rollouts are stopped, by whom and why: each namespace once, with its DAGs, running or
        not."""
        for place, dags in self._places(runs, plans).items():
            if (claims := self._known.claims(place)) and claims.stop:
                yield {"dags": sorted(dags), "namespace": place[1], "words": claims.stop}

    def _places(self, runs: Sequence[SeenRun], plans: Mapping[str, Plan]) -> dict[Place, set[str]]:
        """Where these run, or would, with the ids of their DAGs."""
        places: dict[Place, set[str]] = {}
        running = [(run.dag, frozen.plan) for run in runs if (frozen := self._plan_of(run))]
        for dag, plan in (*running, *plans.items()):
            places.setdefault(place_of(plan), set()).add(dag)
        return places

    def _overview(self) -> dict[str, Any]:
        now, plans = self._now(), self._world.plans()
        flying = self._world.in_flight()
        self._known.begin(self._places(flying, plans))
        lines = [self._line(run, now) for run in flying]
        return {
            "now": now,
            "rollouts": [each.to_json() for each in in_order(lines)],
            **self._page(self._world.ended(), now),
            "stops": list(self._stops(flying, plans)),
            "plans": [{**asdict(each), "plan": fields(plans.get(each.dag))} for each in self._world.dags()],
        }

    def _history(self, before: float) -> dict[str, Any]:
        now = self._now()
        return {"now": now, **self._page(self._world.ended(before=before), now)}

    def _page(self, ended: Sequence[SeenRun], now: float) -> dict[str, Any]:
        """Runs that are over; `older`: what is to be asked for to see more, None where these are all."""
        last = ended[-1].ended if len(ended) >= FINISHED else None
        return {"history": [self._line(run, now).to_json() for run in ended], "older": last}

    def _line(self, run: SeenRun, now: float) -> Line:
        frozen = self._plan_of(run)
        status, watched = self._status(run, frozen)
        return line(run, frozen.plan if frozen else None, status, watched, now)

    def _status(self, run: SeenRun, frozen: Frozen | None) -> tuple[Status | None, bool | None]:
        """The newest status of a run, and whether it is watched: the claims know it best."""
        left = run.left("", STATUS)
        status = Status.from_json(left) if left else None
        if run.is_over or frozen is None or (claims := self._known.claims(place_of(frozen.plan))) is None:
            return status, None
        return claims.statuses.get(frozen.token, status), claims.watched.get(frozen.token)

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
        around, why = self._known.surroundings(seen, frozen)
        live = self._standing.live(seen, frozen)
        windows = list(self._standing.windows(seen, frozen, live))
        events = happenings(plan, seen, status)
        if around:
            events += [*around.events, *deaths((*around.canary, *around.stable), frozen.began)]
        return {
            "plan": fields(plan),
            "ladder": [rung.to_json() for rung in ladder(plan, seen, status)],
            "events": [each.to_json() for each in sorted(events, key=lambda each: each.time)],
            "pods": {side: [pod.to_json() for pod in getattr(around, side)] for side in ("canary", "stable")}
            if around
            else None,
            "pods_unknown": why,
            "judgement": judgement(seen, plan, live),
            "turning": list(live.turning) if live else [],
            "cost": cost_of(plan, frozen.metric_set, windows, held(seen, now)).to_json(),
            "graph": self._graph(frozen, now),
            "record": list(observations(seen, plan)),
            "commands": [each.to_json() for each in offers(self._known.claims_of(seen, frozen), now)],
            "aftermath": asdict(self._known.aftermath(seen, frozen)),
            "tasks": {task: each.state for task, each in seen.tasks.items()},
        }

    def _graph(self, frozen: Frozen, now: float) -> str:
        """The page of the metrics store; empty where it is asked with credentials that people do not have."""
        plan = frozen.plan
        try:
            access = self._world.clients(frozen).prometheus.access  # type: ignore[attr-defined]
            shares = bad_shares(
                frozen.metric_set, frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
            )
            return graph_page(access.url, shares, round(max(600.0, now - frozen.began)))
        except Exception:
            return ""

    def _series(self, dag: str, run: str) -> dict[str, Any] | None:
        seen = self._run(dag, run)
        frozen = self._plan_of(seen) if seen else None
        if seen is None or frozen is None:
            return None
        live = self._standing.live(seen, frozen)
        windows = list(self._standing.windows(seen, frozen, live))
        policy = frozen.plan.analysis
        return {
            "now": self._now(),
            "over": seen.is_over,
            **curves(frozen.metric_set, windows),
            "load": self._load(seen, frozen, windows[0].start, windows[-1].end) if windows else None,
            "evidence": [*evidence(seen, frozen.plan), *(live.evidence if live else ())],
            "alarm_at": 1 / policy.alpha,
            "good_at": 1 / policy.beta if policy.margin is not None else None,
            "goodness": [*goodness(seen, frozen.plan), *(live.goodness if live else ())],
            "asked": asked(seen, frozen),
        }

    def _load(self, seen: SeenRun, frozen: Frozen, start: float, end: float) -> Load | None:
        """None where the metrics store does not answer: it forgets, decision records do not."""
        prometheus, own = self._world.clients(frozen).prometheus, self._known.pods(seen, frozen)

        def ask() -> Load | None:
            return load_between(prometheus, frozen, start, end, own)

        try:
            return self._loads.get((frozen.token, end), ask)
        except (PrometheusUnavailable, TimeoutError) as error:
            log.info("the load of both arms is not known: %s", error)
            return None

    def _judged_again(self, seen: SeenRun, frozen: Frozen, alpha: float) -> dict[str, Any]:
        records = list(self._standing.records(seen, frozen))
        policy = frozen.plan.analysis.model_copy(update={"alpha": alpha})
        return {
            "alpha": alpha,
            "alphas": ALPHAS,
            "was": outcome(recorded(records)) | {"alpha": frozen.plan.analysis.alpha},
            "would": outcome(rejudged(records, policy)),
        }

    def _forecast(self, run: SeenRun) -> dict[str, Any] | None:
        """The latest look ahead of a plan."""
        whole = self._run(run.dag, run.run)
        text = whole.left("preflight", "forecast") if whole else None
        failed = whole.left("preflight", "failure") if whole and not text else None
        if whole is None or not (text or failed):
            return None
        return {"run": run.run, "at": run.began, "text": text, "refused": failed}
