"""The new pool will answer for every name, of a model or an adapter, that clients can use today."""

from __future__ import annotations

import logging

from inference_rollouts.clients import Clients
from inference_rollouts.clients.storage import Storage
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing.rewrite import answering
from inference_rollouts.core.serving.adapters import Adapter, as_served, check_complete, misfits, nameable
from inference_rollouts.rollout.pods import servers_of
from inference_rollouts.rollout.serving import seen_by
from inference_rollouts.rollout.targets import bound_to

log = logging.getLogger(__name__)


def with_adapters(clients: Clients, plan: PoolPlan) -> PoolPlan:
    """The plan with all its adapters listed. Raises PlanInvalid when one is missing or does not fit."""
    work, cluster = plan.workload, clients.cluster
    seen = seen_by(clients.servers, servers_of(cluster, plan.stable))
    chosen = as_served(seen) if work.adapters == "as-stable" else work.adapters
    names = nameable(seen, answering(bound_to(cluster, plan.stable)))
    check_complete(names, work.base_names | {adapter.name for adapter in chosen}, plan.canary)
    if wrong := [sentence for adapter in chosen for sentence in _misfits(adapter, plan, clients.storage)]:
        raise PlanInvalid(" ".join(wrong))
    if blind := [adapter.name for adapter in chosen if not adapter.config]:
        log.warning(
            "whether adapters %s fit is not known before they are loaded: give their `config` in the plan",
            ", ".join(blind),
        )
    return plan.model_copy(update={"workload": work.model_copy(update={"adapters": chosen})})


def _misfits(adapter: Adapter, plan: PoolPlan, storage: Storage) -> list[str]:
    if adapter.config is None:
        return []
    work = plan.workload
    bases = {work.model, *work.lora.bases}
    return list(misfits(adapter, storage.read_json(adapter.config), work.lora, bases, work.max_lora_rank))
