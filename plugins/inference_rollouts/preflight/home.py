"""Which series of the metrics store are this cluster's, where others write into it too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.judging.counters import Exporter
from inference_rollouts.core.judging.counts import Snapshot, shortened
from inference_rollouts.core.judging.home import Home, Known, home_of
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.queries import keyed
from inference_rollouts.core.judging.sites import Site, in_words
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.observation import exporting

log = logging.getLogger(__name__)


def at_home(cluster: Reader, frozen: Frozen, seen: Snapshot) -> Frozen:
    """The frozen run with what tells our pods' series from others' among those that were `seen`.

    Raises ClusterRefused where pods of other clusters have the same names, and nothing tells which are ours.
    """
    known = {each: Known.of(pod, seen.time) for each, pod in exporting(cluster, frozen).items()}
    homes = [
        (each, _home(frozen, each, Snapshot(seen.time, {key: seen.samples[key]}), known))
        for key, each in keyed(frozen.metric_set)
        if each.exporters != "gateways"
    ]
    told = [frozenset(home.labels) for _, home in homes if home.labels is not None]
    labels = frozenset.intersection(*told) if told else frozenset()
    apart = frozenset(pair for _, home in homes for pair in home.apart or ())
    for metric_set, home in homes:
        if home.apart is None or not labels.issuperset(home.apart):
            _refuse(metric_set, home.twins)
    return replace(frozen, home=tuple(sorted(labels)), apart=tuple(sorted(apart & labels)))


def _home(frozen: Frozen, metric_set: MetricSet, seen: Snapshot, known: Mapping[Exporter, Known]) -> Home:
    label = metric_set.arm_of(frozen.arm(frozen.plan.stable)).label
    own = {name: each for (kind, name), each in known.items() if kind == metric_set.exporters}
    [samples] = seen.samples.values()
    return home_of(samples, metric_set.pod, own, {label, f"exported_{label}"})


def _refuse(metric_set: MetricSet, twins: Mapping[str, frozenset[Site]]) -> None:
    where = in_words(frozenset(site for sites in twins.values() for site in sites))
    words = (
        f"the metrics store has several pods called {shortened(sorted(twins))} for {metric_set.name} "
        f"({where}), and nothing tells which is this cluster's"
    )
    if metric_set.guardrail_only:
        log.warning("%s: they raise no alarm", words)
        return
    raise ClusterRefused(
        f"The judge would mix clusters: {words}. Name the cluster's label in the metric set's selectors "
        "(docs/operations.md)."
    )
