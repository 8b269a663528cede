"""Proving, beside a warm-up, that the judge sees its pods and counts what they answer there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from inference_rollouts.clients import bodies
from inference_rollouts.core.errors import PrometheusUnavailable, WarmUpFailed
from inference_rollouts.core.judging.arms import server_in
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.proof import (
    Answered,
    CountedPods,
    Proof,
    ScrapedPods,
    labels_query,
)
from inference_rollouts.core.judging.queries import keyed
from inference_rollouts.core.limits import READINESS_POLL, SCRAPED_WITHIN, SCRAPES_AWAITED
from inference_rollouts.core.objects.inference_pool import pod_of
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.run.scraping import scraped
from inference_rollouts.rollout.availability import picker_pods
from inference_rollouts.rollout.observation import answers, queries_of
from inference_rollouts.rollout.run import Run

log = logging.getLogger(__name__)


class Proving:
    """Asks the metrics store again and again while it is entered, as the judge will, in a thread of its own.

    `servers` are the canary's, by their names. Gateways see no direct requests, and what only raises alarms
    is not needed: of these sets nothing is proven.
    """

    def __init__(self, run: Run, servers: Iterable[str]) -> None:
        self._run = run
        self._servers = list(servers)
        self._sets = {
            key: each
            for key, each in keyed(run.frozen.metric_set)
            if not each.guardrail_only and each.exporters != "gateways"
        }
        self._proofs = {key: self._proof(each) for key, each in self._sets.items()}
        self._wrong = ""
        self._over = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="proving", daemon=True)

    def answered(self, pod: str, request: Answered) -> None:
        """A pod has answered a request. May be called from any thread."""
        for proof in self._proofs.values():
            if isinstance(proof, CountedPods):
                proof.answered(pod, request)

    def require(self, deadline: float, ask: Callable[[Sequence[str]], None]) -> None:
        """Wait until it is proven of each pod: for a few scrapes, at most to `deadline` (`time.monotonic`).

        Pods that answered before they could be counted are asked again, by `ask`. Raises WarmUpFailed.
        """
        until = min(time.monotonic() + self._patience, deadline)
        while self._unproven():
            if time.monotonic() >= until:
                raise WarmUpFailed(self._sentence())
            with self._news:
                unasked = {pod for proof in self._proofs.values() for pod in proof.unasked}
                if not unasked:
                    self._news.wait(max(0.0, until - time.monotonic()))
            if unasked:
                ask(sorted(unasked))
        log.info("the metrics store shows all that the judge needs of %s", self._run.plan.canary)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def _patience(self) -> float:
        """Seconds in which a few scrapes have come, and can be asked for."""
        policy = self._run.plan.analysis
        late = policy.scrape_delay + max((each.delay for each in self._sets.values()), default=0.0)
        return max(SCRAPED_WITHIN, SCRAPES_AWAITED * policy.interval) + late

    def _proof(self, metric_set: MetricSet) -> Proof:
        plan, policy, frozen = self._run.plan, self._run.plan.analysis, self._run.frozen
        canary, stable = (metric_set.arm_of(frozen.arm_at_home(side)) for side in (plan.canary, plan.stable))
        if metric_set.exporters == "pickers":
            own = ready_pods(picker_pods(self._run.cluster, plan.pool_of(plan.canary)))
            return ScrapedPods(metric_set, canary, (pod["metadata"]["name"] for pod in own))
        if canary.process:  # requests that come directly are of no alias, by which adapters are counted
            return ScrapedPods(metric_set, canary, self._servers)
        late = policy.scrape_delay + metric_set.delay + policy.interval
        return CountedPods(metric_set, canary, stable, self._servers, late)

    def _unproven(self) -> bool:
        with self._news:
            return any(proof.unproven for proof in self._proofs.values())

    def _watch(self) -> None:
        pause = min(self._run.plan.analysis.interval, READINESS_POLL)
        while not self._over.is_set() and self._unproven():
            self._look()
            self._over.wait(pause)

    def _look(self) -> None:
        plan = self._run.plan
        needed = [query for query in queries_of(self._run.frozen) if query.key in self._proofs]
        at = self._run.clients.prometheus.time() - plan.analysis.scrape_delay
        try:
            seen = answers(self._run.clients.prometheus, needed, at)
        except Exception as error:
            log.warning("%s", error)
            self._wrong = bodies.one_line(error)
            return
        self._wrong = ""
        with self._news:
            for key, proof in self._proofs.items():
                proof.observe(Snapshot(at, {key: seen.samples[key]}), time.monotonic())
            self._news.notify_all()

    def _sentence(self) -> str:
        """Which pods the judge would not see, and why."""
        if self._wrong:
            return f"Whether the judge would see {self._run.plan.canary} is not known: {self._wrong}"
        doubts: list[str] = []
        for key, proof in self._proofs.items():
            if proof.unproven:
                metric_set = self._sets[key]
                what = "; ".join(proof.doubts(self._labels(metric_set, proof.unproven)))
                whose = scraped(self._run.plan, metric_set, self._run.plan.canary)
                doubts.append(f"{what}. Scrape {whose} (docs/operations.md)")
        return f"The judge would not see {self._run.plan.canary}: {'. '.join(doubts)}"

    def _labels(self, metric_set: MetricSet, servers: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """The labels that servers have in the store, whatever they are; nothing where nobody knows."""
        arm = metric_set.arm_of(self._run.frozen.arm(self._run.plan.canary))
        query = labels_query(metric_set, {pod_of(each) for each in servers})
        try:
            store = self._run.clients.prometheus
            found: Sequence[dict[str, Any]] = store.query(query, store.time()) if query else []
        except PrometheusUnavailable as error:
            log.warning("%s", error)
            return {}
        return {server_in(each["metric"], arm.ports, metric_set.pod): each["metric"] for each in found}
