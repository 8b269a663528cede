"""Prometheus knows what the judge needs, and what the steps can detect at the traffic of now."""

from __future__ import annotations

import logging
from collections.abc import Collection

from inference_rollouts.clients import Clients
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.errors import ClusterRefused, PlanInvalid
from inference_rollouts.core.judging.arms import TOLD
from inference_rollouts.core.judging.counters import Exporter, last_window, named, names_of
from inference_rollouts.core.judging.counts import Snapshot, missing, only, pods_in, servers_unseen, shortened
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.power import markdown, shortfalls, step_powers, traffic_of
from inference_rollouts.core.judging.promotion import late
from inference_rollouts.core.judging.queries import keyed
from inference_rollouts.core.objects.inference_pool import pod_of
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.scraping import scraped
from inference_rollouts.preflight.home import at_home
from inference_rollouts.rollout.observation import exporters_of, queries_of, snapshot

log = logging.getLogger(__name__)

TRAFFIC_SEEN = 120.0  # seconds before the rollout of traffic from which its power is computed


def check_metrics(clients: Clients, frozen: Frozen) -> Frozen:
    """Prometheus answers and knows what the judge needs of stable, of its own pods and of its gateways.

    The frozen run, with what tells those pods' series from others'.
    """
    seen = snapshot(clients.prometheus, frozen, clients.cluster.time())
    for remark in clients.prometheus.remarks_on(each.promql for each in queries_of(frozen)):
        log.warning("%s", remark)
    frozen = at_home(clients.cluster, frozen, seen)
    own = exporters_of(clients.cluster, frozen)
    for key, metric_set in keyed(frozen.metric_set):
        answer = Snapshot(seen.time, {key: seen.samples[key]})
        if not (lacking := "; ".join(_lacking(frozen, metric_set, answer, own))):
            continue
        if metric_set.guardrail_only:
            log.warning("%s raises no alarm: the metrics store lacks %s", metric_set.name, lacking)
            continue
        whose = scraped(frozen.plan, metric_set, frozen.plan.stable)
        raise ClusterRefused(
            f"The judge would be blind: Prometheus lacks {lacking}. Scrape {whose} (docs/operations.md)."
        )
    return frozen


def _lacking(
    frozen: Frozen, metric_set: MetricSet, answer: Snapshot, exporters: Collection[Exporter]
) -> list[str]:
    """What an answer lacks of stable, said of the pods that the cluster has."""
    arm = metric_set.arm_of(frozen.arm_at_home(frozen.plan.stable))
    own, present = names_of(metric_set, exporters), pods_in(answer, metric_set.pod, arm.label)
    if "" in present and not present.difference([""]).intersection(own or present):
        return [f"the label `{metric_set.pod}` on what {arm.value} exports"]
    if own:
        if strangers := ", ".join(sorted(present - own)):
            log.warning("not counted, as they are not in this cluster's pools: %s", strangers)
        if silent := ", ".join(sorted(own - present)):
            log.warning("Prometheus has no metrics of %s", silent)
        answer = only(answer, metric_set.pod, own)
    samples = {key: named(samples, [arm]) for key, samples in answer.samples.items()}
    answer = Snapshot(answer.time, samples)
    unseen = servers_unseen(metric_set, arm, answer)
    if blended := [pod_of(each) for each in unseen if each.endswith(":")]:
        return [f"what tells the servers of {shortened(blended)} apart, {TOLD}"]
    if unseen:
        log.warning("Prometheus has no metrics of %s", ", ".join(unseen))
    return missing(metric_set, arm, answer)


def strangers(frozen: Frozen, newest: Snapshot, own: Collection[Exporter]) -> frozenset[str]:
    """The pods that count, as the newest answer shows, and are not those that the cluster has: of others."""
    found: set[str] = set()
    for key, metric_set in keyed(frozen.metric_set):
        label = metric_set.arm_of(frozen.plan.arm(frozen.plan.stable)).label
        present = pods_in(Snapshot(newest.time, {key: newest.samples[key]}), metric_set.pod, label)
        found |= present.difference(names_of(metric_set, own) or present)
    return frozenset(found)


def check_power(
    prometheus: Prometheus, frozen: Frozen, now: float, own: Collection[Exporter] | None
) -> tuple[str, list[str]]:
    """What each step can see at the traffic of the last minutes: a table, and what it may miss.

    `own` are the pods that the cluster has; None: nobody knows. Raises PlanInvalid when something may be
    missed and the plan says to refuse then.
    """
    plan, policy = frozen.plan, frozen.plan.analysis
    answers = [snapshot(prometheus, frozen, now - ago) for ago in (TRAFFIC_SEEN + 60, TRAFFIC_SEEN, 0)]
    arms = frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
    seen = last_window(frozen.metric_set, *arms, answers, own)
    usual = traffic_of(frozen.metric_set, [seen] if seen else [])
    powers = step_powers(policy, frozen.metric_set, plan.all_steps, usual)
    missed = shortfalls(policy, powers) + late(policy, frozen.metric_set, plan.all_steps, usual)
    if not powers and any(step.compared for step in plan.all_steps):
        missed = [
            f"Nothing was counted in the last {TRAFFIC_SEEN:.0f} s, so nobody knows what the steps can see."
        ]
    if missed and policy.when_underpowered == "refuse":
        raise PlanInvalid(
            f"The steps are too short for what analysis.min_detectable_odds asks: {' '.join(missed)}"
        )
    return markdown(policy, powers), [] if policy.when_underpowered == "ignore" else missed
