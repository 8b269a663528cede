"""Preflight on a cluster in memory: what it freezes, and what it refuses without a trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.clients.storage import Storage
from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.parameters import apply_parameters
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import RUN, llm


def freeze(
    cluster: FakeCluster,
    plan: Plan,
    *,
    run: str = RUN,
    prometheus: Prometheus | None = None,
    servers: ModelServers | None = None,
    files: Storage | None = None,
) -> Run:
    """A run of a plan, as preflight freezes it."""
    clients = fake_clients(cluster, prometheus=prometheus, servers=servers, storage=files)
    kind = kind_of(plan)
    frozen = kind.freeze(clients, run)
    return Run(frozen, clients, kind_of(frozen.plan))


def run_on(
    cluster: FakeCluster,
    params: dict[str, Any] | None = None,
    *,
    prometheus: Prometheus | None = None,
    servers: ModelServers | None = None,
    files: Storage | None = None,
    **changes: Any,
) -> Run:
    """A run of the plan llm, changed by `changes` and started with `params`."""
    plan = apply_parameters(parse_plan(llm(**changes)), params or {})
    return freeze(cluster, plan, prometheus=prometheus, servers=servers, files=files)


def preflight(cluster: FakeCluster, params: dict[str, Any] | None = None, **given: Any) -> Frozen:
    """What `run_on` has frozen."""
    return run_on(cluster, params, **given).frozen


def refused(
    error: type[Exception],
    words: str,
    cluster: FakeCluster | None = None,
    plan: Plan | None = None,
    **given: Any,
) -> None:
    """Preflight refuses with one sentence that has these words, and nothing was written."""
    cluster = cluster or FakeCluster()
    before = copy.deepcopy(cluster.objects)
    with pytest.raises(error) as caught:
        freeze(cluster, plan, **given) if plan else preflight(cluster, **given)
    assert isinstance(caught.value, RolloutError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cluster.writes
    assert not cluster.events
    assert cluster.objects == before
