"""The new pool will answer for every name, of a model or an adapter, that clients can use today."""

from __future__ import annotations

import logging

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing.rewrite import answering
from inference_rollouts.core.serving.adapters import Adapter, as_served, check_complete, misfits, nameable
from inference_rollouts.hooks.objects import read_json
from inference_rollouts.rollout import adapters
from inference_rollouts.rollout.serving import seen_by
from inference_rollouts.rollout.targets import bound_to

log = logging.getLogger(__name__)


def with_adapters(cluster: ClusterHook, plan: PoolPlan) -> PoolPlan:
    """The plan with all its adapters listed. Raises PlanInvalid when one is missing or does not fit."""
    work = plan.workload
    seen = seen_by(adapters.servers(cluster, plan.stable))
    chosen = as_served(seen) if work.adapters == "as-stable" else work.adapters
    names = nameable(seen, answering(bound_to(cluster, plan.stable)))
    check_complete(names, work.base_names | {adapter.name for adapter in chosen}, plan.canary)
    if wrong := [sentence for adapter in chosen for sentence in _misfits(adapter, plan)]:
        raise PlanInvalid(" ".join(wrong))
    if blind := [adapter.name for adapter in chosen if not adapter.config]:
        log.warning(
            "whether adapters %s fit is not known before they are loaded: give their `config` in the plan",
            ", ".join(blind),
        )
    return plan.model_copy(update={"workload": work.model_copy(update={"adapters": chosen})})


def _misfits(adapter: Adapter, plan: PoolPlan) -> list[str]:
    if adapter.config is None:
        return []
    work = plan.workload
    bases = {work.model, *work.lora.bases}
    return list(misfits(adapter, read_json(adapter.config), work.lora, bases, work.max_lora_rank))
