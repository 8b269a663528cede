"""What a page says of a plan and of a run that was seen: values to JSON, without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from inference_rollouts.console.live import LiveView
from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.judging.rejudge import Outcome
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.reporting.ladder import judgement_of, ladder
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.run.frozen import Frozen


def fields(plan: Plan | None) -> dict[str, Any] | None:
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
        "needs": needs(plan),
        "schedule": str(plan.schedule) if plan.schedule else "",
        "windows": [str(window) for window in plan.windows],
        "blackouts": [str(blackout) for blackout in plan.blackouts],
    }


def needs(plan: Plan) -> str:
    """What the canary takes of the cluster; empty where it takes nothing of its own."""
    if not isinstance(plan, PoolPlan):
        return ""
    if not plan.workload.replicas:
        return "as many pods as stable has"
    accelerator = plan.workload.accelerator
    pods = f"{plan.workload.replicas} pods"
    return f"{pods}, {plan.accelerators_needed} x {accelerator.resource}"


def judgement(seen: SeenRun, plan: Plan, live: LiveView | None) -> dict[str, Any] | None:
    """The figures by metric: of the step that stands; else, and after an alarm, of the last one judged."""
    numbers = range(len(plan.all_steps), 0, -1)
    last = next((found for number in numbers if (found := judgement_of(seen, number))), None)
    if live and not (last and last["verdict"] == Verdict.ROLLBACK):
        return figures(live.judgement.to_json())
    return figures(last) if last else None


def figures(judgement: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in judgement.items() if key != "carried"}


def evidence(seen: SeenRun, plan: Plan) -> Iterator[Sequence[float]]:
    """Time and evidence of each observation of the steps that were judged."""
    for number in range(1, len(plan.all_steps) + 1):
        for task in ("judge", "ask"):
            yield from ((point[0], point[2]) for point in seen.left(f"step_{number}.{task}", "points") or ())


def observations(seen: SeenRun, plan: Plan) -> Iterator[dict[str, Any]]:
    """What was concluded of the steps that were judged, observation by observation.

    A decision record has a line where something changed: between two of them the verdict stood, and of the
    evidence the points tell. Such an observation has no `reason`.
    """
    lines = {judgement["time"]: judgement for judgement in _recorded(seen, plan)}
    points = {time: value for time, value in evidence(seen, plan) if time not in lines}
    latest: dict[str, Any] | None = None
    for time in sorted({*lines, *points}):
        latest = lines.get(time, latest)
        if time in lines:
            yield {key: lines[time][key] for key in ("step", "time", "verdict", "reason", "evidence")}
        elif latest:
            same = {"step": latest["step"], "verdict": latest["verdict"]}
            yield {**same, "time": time, "reason": "", "evidence": points[time]}


def goodness(seen: SeenRun, plan: Plan) -> Iterator[Sequence[float]]:
    """Time and the least evidence that the canary is good enough, of the metrics that promotion asks for."""
    for judgement in _recorded(seen, plan):
        asked = [row["goodness"] for row in judgement["rows"] if row.get("goodness") is not None]
        if asked:
            yield judgement["time"], min(asked)


def _recorded(seen: SeenRun, plan: Plan) -> Iterator[dict[str, Any]]:
    for number in range(1, len(plan.all_steps) + 1):
        for task in ("judge", "ask"):
            for text in seen.left(f"step_{number}.{task}", "record") or ():
                if judgement := json.loads(text).get("judgement"):
                    yield judgement


def asked(seen: SeenRun, frozen: Frozen) -> list[tuple[float, float]]:
    """When the canary was given which share (0 to 1), to the end of the run."""
    rungs = ladder(frozen.plan, seen, None)
    asked = [(rung.since, (rung.percent or 0) / 100) for rung in rungs if rung.since is not None]
    asked += [(rung.until, 0.0) for rung in rungs if rung.verdict == Verdict.ROLLBACK and rung.until]
    if seen.is_over and asked and seen.ended is not None:
        promoted = seen.left("report", "outcome") == "promoted"
        asked.append((seen.ended, 1.0 if promoted else 0.0))
    return asked


def held(seen: SeenRun, now: float) -> float:
    """For how long the canary's pods were there (s)."""
    deployed = seen.tasks.get("deploy_pool")
    if deployed is None or deployed.began is None:
        return 0.0
    return max(0.0, (seen.ended or now) - deployed.began)


def outcome(outcome: Outcome) -> dict[str, Any]:
    return {"verdict": outcome.verdict.value, "reason": outcome.reason, "seconds": outcome.seconds}
