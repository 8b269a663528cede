"""Warm up every pod of the canary, directly, before any weight leaves 0."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.plan import PoolPlan
from inference_rollouts.core.readiness import ready_pods
from inference_rollouts.core.warmup import is_steady, mistake
from inference_rollouts.hooks.model_server import complete
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan

TOLERATED = 2  # failed answers in a row that a pod may give while it still settles


class WarmUp(RolloutOperator):
    """Sends real completions to each pod until its answers are valid and its latency is steady."""

    ui_color = "#fef7e0"

    def execute(self, context: Context) -> dict[str, Any]:
        frozen = frozen_plan(context)
        plan = frozen.pool_plan
        pods = ready_pods(cluster_of(frozen).select("v1", "Pod", plan.pod_labels(plan.canary)))
        if len(pods) < plan.workload.replicas:
            raise WarmUpFailed(
                f"{len(pods)} of {plan.workload.replicas} pods of {plan.canary} are ready; "
                "no traffic was moved to it."
            )
        deadline = time.monotonic() + plan.deadlines.warm_up
        with ThreadPoolExecutor(min(len(pods), 16)) as pool:
            ttfts = list(pool.map(lambda pod: self._warm(pod, plan, deadline), pods))
        return {pod["metadata"]["name"]: round(ttft, 4) for pod, ttft in zip(pods, ttfts, strict=True)}

    def _warm(self, pod: dict[str, Any], plan: PoolPlan, deadline: float) -> float:
        """Warm one pod; returns its last time to first token in seconds."""
        name, warm, work = pod["metadata"]["name"], plan.warm_up, plan.workload
        url = f"http://{pod['status']['podIP']}:{work.port}"
        ttfts: list[float] = []
        failures = 0
        for number in count():
            prompt = warm.prompts[number % len(warm.prompts)]
            answer = complete(url, work.served_model_name, prompt, warm.max_tokens, warm.request_timeout)
            wrong = mistake(answer, work.served_model_name)
            failures = failures + 1 if wrong else 0
            if failures > TOLERATED or (wrong and answer.status == 200):
                raise WarmUpFailed(f"Pod {name} {wrong}; no traffic was moved to {plan.canary}.")
            if not wrong:
                ttfts.append(answer.ttft)
            if is_steady(ttfts, warm.steady, warm.tolerance):
                first, last = ttfts[0] * 1000, ttfts[-1] * 1000
                self.log.info(
                    "%s is warm: first token %.0f ms, then %.0f ms (%d answers)",
                    name,
                    first,
                    last,
                    len(ttfts),
                )
                return ttfts[-1]
            if time.monotonic() > deadline:
                raise WarmUpFailed(
                    f"Pod {name} was not steady in time (last first tokens {_ms(ttfts[-warm.steady :])}); "
                    f"no traffic was moved to {plan.canary}."
                )
        raise AssertionError("unreachable")


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{s * 1000:.0f} ms" for s in seconds) or "none"
