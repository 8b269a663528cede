"""A whole rollout as its tasks carry it out, one after the other, in a time of its own."""

from __future__ import annotations

import time
from functools import partial

from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.core.judging.judge import Carried
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.checks import check_now, nodes_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.step_observer import StepObserver
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import freeze


def roll_out(plan: Plan, cluster: FakeCluster, prometheus: FakePrometheus, servers: ModelServers) -> Verdict:
    """Prepare, move and promote, or bring back what alarms; the verdict of the last step."""
    run = freeze(cluster, plan, prometheus=prometheus, servers=servers)
    _prepare(run)
    now = time.time()
    run.traffic.permit(0, now)
    for index, step in enumerate(run.plan.all_steps, 1):
        _require(run, f"capacity:{index}")
        since = run.traffic.shift(index, step, now)
        judgement, now = _observed(run, index, since)
        if judgement.verdict is not Verdict.ADVANCE:
            bring_back(run.traffic.way_back, partial(run.kind.kept_share, run, patient=True), "", now)
            return judgement.verdict
    run.traffic.promote(now)
    return Verdict.ADVANCE


def _prepare(run: Run) -> None:
    nodes_of(run).request()
    _require(run, "nodes")
    for manifest in run.frozen.manifests:
        run.cluster.apply(manifest)
    for check in ("placement", "workloads"):
        _require(run, check)
    run.attach()
    _require(run, "attachment")
    run.kind.warm_up(run)


def _require(run: Run, check: str) -> None:
    answer = check_now(run, check)
    assert answer.phase is Phase.READY, answer.message


def _observed(run: Run, index: int, since: float) -> tuple[Judgement, float]:
    """What the judge says of a step in the end, observing when each observation is due; and when."""
    observer, now = StepObserver(run, run.plan.step_context(index, since), Carried()), since
    while not (judgement := observer.observe(now)).verdict.final:
        now = observer.next_observation(now)
    observer.finish(judgement, f"step_{index}.jsonl")
    return judgement, now
