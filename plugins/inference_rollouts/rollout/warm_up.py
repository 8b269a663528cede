"""Warm up pods, directly: each answers validly until its time to a first token is steady."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.judging.proof import ENOUGH, Answered
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


@dataclass(frozen=True, slots=True)
class Warming:
    """Pods that answer as `model`, by name with their base URLs, asked the prompts of a plan, all at once.

    `answered` is told of each good answer.
    """

    servers: AskedServers
    urls: Urls
    model: str
    how: WarmUp
    answered: Callable[[str, Answered], None]

    def warm(self) -> dict[str, float]:
        """Ask each pod until it is warm; the seconds to a first token, by pod.

        Raises WarmUpFailed for the first pod that answers wrongly or is not steady in time.
        """
        ttfts = on_each(self.urls, lambda pod, url: _Pod(self, pod, url).warm())
        return {pod: round(ttft, 4) for pod, ttft in ttfts.items()}

    def ask_again(self, pods: Sequence[str]) -> None:
        """As many requests to each of these pods as prove that they are counted. Raises WarmUpFailed."""
        on_each({pod: self.urls[pod] for pod in pods}, lambda pod, url: _Pod(self, pod, url).prove())


@dataclass(slots=True)
class _Pod:
    """One pod that is asked; `ttfts` are its seconds to a first token."""

    of: Warming
    name: str
    url: str
    ttfts: list[float] = field(default_factory=list)
    asked: int = 0
    failures: int = 0

    def warm(self) -> float:
        """Its last seconds to a first token, once they are steady."""
        how = self.of.how
        while time.monotonic() < self.of.servers.until:
            self._ask()
            if is_steady(self.ttfts, how.steady, how.tolerance):
                shown = _ms([self.ttfts[0], self.ttfts[-1]])
                log.info("%s is warm: first token %s (%d answers)", self.name, shown, len(self.ttfts))
                return self.ttfts[-1]
        shown = _ms(self.ttfts[-how.steady :])
        raise WarmUpFailed(f"Pod {self.name} was not steady in time (last first tokens {shown})")

    def prove(self) -> None:
        """Answers that may be counted."""
        while len(self.ttfts) < ENOUGH:
            self._ask()

    def _ask(self) -> None:
        """Raises WarmUpFailed for a wrong answer, and for several failures in a row."""
        how, prompt = self.of.how, self.of.how.prompts[self.asked % len(self.of.how.prompts)]
        self.asked += 1
        began = time.monotonic()
        answer = self.of.servers.complete(
            self.url, self.of.model, prompt, how.max_tokens, how.request_timeout
        )
        wrong = mistake(answer, self.of.model)
        self.failures = self.failures + 1 if wrong else 0
        if self.failures > WARM_UP_FAILURES or (wrong and isinstance(answer, Completion)):
            raise WarmUpFailed(f"Pod {self.name} {wrong}")
        if isinstance(answer, Completion):
            self.of.answered(self.name, Answered(began, time.monotonic()))
            self.ttfts.append(answer.ttft)


def _ms(seconds: list[float]) -> str:
    return ", ".join(f"{s * 1000:.0f} ms" for s in seconds) or "none"
