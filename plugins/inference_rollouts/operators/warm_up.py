"""Warm up every pod of the canary, directly, before any weight leaves 0."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from airflow.sdk.definitions.context import Context

from inference_rollouts.clients.model_server import complete
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.serving.adapters import nameable
from inference_rollouts.core.serving.warm_up import is_steady, mistake
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan, telling
from inference_rollouts.rollout import adapters, serving

log = logging.getLogger(__name__)

TOLERATED = 2  # failed answers in a row that a pod may give while it still settles


class WarmUp(RolloutOperator):
    """Each pod answers validly and steadily, for every name that stable answers for, and as stable does."""

    ui_color = "#fef7e0"

    @telling
    def execute(self, context: Context) -> dict[str, float]:
        frozen = frozen_plan(context)
        plan, cluster = frozen.pool_plan, cluster_of(frozen)
        stable, canary = (adapters.servers(cluster, pool) for pool in (plan.stable, plan.canary))
        if len(canary) < plan.workload.replicas:
            raise WarmUpFailed(
                f"{len(canary)} of {plan.workload.replicas} pods of {plan.canary} are ready; "
                "no traffic was moved to it."
            )
        ttfts = warm_all(canary, plan.workload.served_model_name, plan)
        try:
            compare(stable, canary, plan)
        except WarmUpFailed as error:
            raise WarmUpFailed(f"{error}; no traffic was moved to {plan.canary}.") from error
        return ttfts


def compare(stable: Mapping[str, str], canary: Mapping[str, str], plan: PoolPlan) -> None:
    """Every new server answers for each name of stable's, and as one of them does. Raises WarmUpFailed."""
    work, how, model = plan.workload, plan.warm_up, plan.workload.served_model_name
    names = nameable(serving.seen_by(stable), {})
    answers = serving.references(*next(iter(stable.items())), model, how)

    def require(pod: str, url: str) -> None:
        serving.require_adapters(pod, url, work, how)
        serving.require_names(pod, url, names)
        serving.require_alike(pod, url, model, how, answers)

    serving.on_each(canary, require)


def warm_all(urls: Mapping[str, str], model: str, plan: Plan) -> dict[str, float]:
    """Warm several pods at once, given by name with their base URLs; returns the seconds to a first token.

    Raises WarmUpFailed for the first pod that answers wrongly or is not steady in time.
    """
    deadline = time.monotonic() + plan.deadlines.warm_up
    with ThreadPoolExecutor(min(len(urls), 16)) as pool:
        ttfts = list(pool.map(lambda name: _warm(name, urls[name], model, plan, deadline), urls))
    return {name: round(ttft, 4) for name, ttft in zip(urls, ttfts, strict=True)}


def _warm(name: str, url: str, model: str, plan: Plan, deadline: float) -> float:
    """Warm one pod; returns its last time to first token in seconds."""
    warm = plan.warm_up
    ttfts: list[float] = []
    failures = 0
    for number in count():
        prompt = warm.prompts[number % len(warm.prompts)]
        answer = complete(url, model, prompt, warm.max_tokens, warm.request_timeout)
        wrong = mistake(answer, model)
        failures = failures + 1 if wrong else 0
        if failures > TOLERATED or (wrong and answer.status == 200):
            raise WarmUpFailed(f"Pod {name} {wrong}; no traffic was moved to {plan.canary}.")
        if not wrong:
            ttfts.append(answer.ttft)
        if is_steady(ttfts, warm.steady, warm.tolerance):
            log.info("%s is warm: first token %s (%d answers)", name, _ms([ttfts[0], ttfts[-1]]), len(ttfts))
            return ttfts[-1]
        if time.monotonic() > deadline:
            raise WarmUpFailed(
                f"Pod {name} was not steady in time (last first tokens {_ms(ttfts[-warm.steady :])}); "
                f"no traffic was moved to {plan.canary}."
            )
    raise AssertionError("unreachable")


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{s * 1000:.0f} ms" for s in seconds) or "none"
