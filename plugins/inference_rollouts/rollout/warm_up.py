"""Warm up pods, directly: each answers validly until its time to a first token is steady."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.limits import WARM_UP_FAILURES
from inference_rollouts.core.plan.workload import WarmUp
from inference_rollouts.core.serving.warm_up import Completion, is_steady, mistake
from inference_rollouts.rollout.asking import AskedServers
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.serving import Urls, on_each

log = logging.getLogger(__name__)


@contextmanager
def warming_up(run: Run) -> Iterator[AskedServers]:
    """A run's servers for as long as its warm-up may take. WarmUpFailed says where the traffic is, too."""
    plan = run.plan
    try:
        yield AskedServers(run.clients.servers, time.monotonic() + plan.deadlines.warm_up)
    except WarmUpFailed as error:
        raise WarmUpFailed(f"{error}; no traffic was moved to {plan.canary}.") from error


def warm_all(servers: AskedServers, urls: Urls, model: str, how: WarmUp) -> dict[str, float]:
    """Warm several pods at once, given by name with their base URLs; returns the seconds to a first token.

    Raises WarmUpFailed for the first pod that answers wrongly or is not steady in time.
    """
    ttfts = on_each(urls, lambda pod, url: _warm(servers, pod, url, model, how))
    return {pod: round(ttft, 4) for pod, ttft in ttfts.items()}


def _warm(servers: AskedServers, pod: str, url: str, model: str, how: WarmUp) -> float:
    """Warm one pod; returns its last time to first token in seconds."""
    ttfts: list[float] = []
    failures = number = 0
    while time.monotonic() < servers.until:
        prompt = how.prompts[number % len(how.prompts)]
        answer = servers.complete(url, model, prompt, how.max_tokens, how.request_timeout)
        number += 1
        wrong = mistake(answer, model)
        failures = failures + 1 if wrong else 0
        if failures > WARM_UP_FAILURES or (wrong and isinstance(answer, Completion)):
            raise WarmUpFailed(f"Pod {pod} {wrong}")
        if isinstance(answer, Completion):
            ttfts.append(answer.ttft)
        if is_steady(ttfts, how.steady, how.tolerance):
            log.info("%s is warm: first token %s (%d answers)", pod, _ms([ttfts[0], ttfts[-1]]), len(ttfts))
            return ttfts[-1]
    raise WarmUpFailed(f"Pod {pod} was not steady in time (last first tokens {_ms(ttfts[-how.steady :])})")


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{s * 1000:.0f} ms" for s in seconds) or "none"
