"""Warm up pods, directly: each answers validly until its time to a first token is steady."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.limits import SERVERS_AT_ONCE, WARM_UP_FAILURES
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.serving.warm_up import Completion, is_steady, mistake

log = logging.getLogger(__name__)


def warm_all(servers: ModelServers, urls: Mapping[str, str], model: str, plan: Plan) -> dict[str, float]:
    """Warm several pods at once, given by name with their base URLs; returns the seconds to a first token.

    Raises WarmUpFailed for the first pod that answers wrongly or is not steady in time.
    """
    deadline = time.monotonic() + plan.deadlines.warm_up
    with ThreadPoolExecutor(min(len(urls), SERVERS_AT_ONCE)) as pool:
        ttfts = list(pool.map(lambda pod: _warm(servers, pod, urls[pod], model, plan, deadline), urls))
    return {pod: round(ttft, 4) for pod, ttft in zip(urls, ttfts, strict=True)}


def _warm(servers: ModelServers, pod: str, url: str, model: str, plan: Plan, deadline: float) -> float:
    """Warm one pod; returns its last time to first token in seconds."""
    how = plan.warm_up
    ttfts: list[float] = []
    failures = 0
    for number in count():
        prompt = how.prompts[number % len(how.prompts)]
        answer = servers.complete(url, model, prompt, how.max_tokens, how.request_timeout)
        wrong = mistake(answer, model)
        failures = failures + 1 if wrong else 0
        if failures > WARM_UP_FAILURES or (wrong and isinstance(answer, Completion)):
            raise WarmUpFailed(f"Pod {pod} {wrong}; no traffic was moved to {plan.canary}.")
        if isinstance(answer, Completion):
            ttfts.append(answer.ttft)
        if is_steady(ttfts, how.steady, how.tolerance):
            log.info("%s is warm: first token %s (%d answers)", pod, _ms([ttfts[0], ttfts[-1]]), len(ttfts))
            return ttfts[-1]
        if time.monotonic() > deadline:
            raise WarmUpFailed(
                f"Pod {pod} was not steady in time (last first tokens {_ms(ttfts[-how.steady :])}); "
                f"no traffic was moved to {plan.canary}."
            )
    raise AssertionError("unreachable")


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{s * 1000:.0f} ms" for s in seconds) or "none"
