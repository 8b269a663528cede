"""Trying again what may pass: for a while for tasks, without end for the way back.

    for_seconds(120)(traffic.shift, 1, step, now)
    without_end()(way_back.restore, why, now)

A PassingError, a busy metrics store or an error of the network is tried again, after pauses that grow from
half a second to 15 seconds. A server that says when it wants to be asked again is not asked before, as far as
there is time for it: the way back has OBEYED. Anything else is a decision, or a fault of ours, and comes out
at once. What is in the way is logged at first and then once a minute.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import time
from collections.abc import Callable

import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from inference_rollouts.core.errors import ClusterUnavailable, Forbidden, PassingError, PrometheusBusy
from inference_rollouts.core.faults import right_to
from inference_rollouts.core.limits import FIRST_PAUSE, FORBIDDEN_FOR, LONGEST_PAUSE, OBEYED, TELL_EVERY

MAY_PASS = (
    PassingError,
    PrometheusBusy,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    ssl.SSLError,
)

Seconds = Callable[[], float]
Sleep = Callable[[float], None]

log = logging.getLogger(__name__)


def for_seconds(
    seconds: float, *, hurries: bool = False, now: Seconds = time.monotonic, sleep: Sleep = time.sleep
) -> Retrying:
    """Tries again for so many seconds from here on; the last try is then, and what it raises comes out.

    A try is not interrupted: what it asks of the clients has limits of its own. `hurries`: it is of the way
    back. `now` gives seconds that only grow: what is done to the clock makes it no longer and no shorter.
    For one call at a time.
    """
    return _retrying(now() + seconds, OBEYED if hurries else math.inf, now, sleep)


def without_end(*, now: Seconds = time.monotonic, sleep: Sleep = time.sleep) -> Retrying:
    """Tries again until it works, or is decided otherwise. For one call at a time."""
    return _retrying(math.inf, OBEYED, now, sleep)


def _retrying(deadline: float, obeyed: float, now: Seconds, sleep: Sleep) -> Retrying:
    growing = wait_random_exponential(multiplier=FIRST_PAUSE, min=FIRST_PAUSE, max=LONGEST_PAUSE)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(min(max(growing(state), min(later(error), obeyed)), deadline - now()), 0.0)

    return Retrying(
        retry=retry_if_exception_type(MAY_PASS),
        wait=pause,
        stop=lambda _: now() >= deadline,
        before_sleep=_Teller(now).tell,
        sleep=sleep,
        reraise=True,
    )


def later(error: BaseException | None) -> float:
    """The seconds after which a server wants to be asked again; 0 where it does not say."""
    return error.later if isinstance(error, ClusterUnavailable | PrometheusBusy) else 0.0


class _Teller:
    """Logs what is in the way of one call, and a right that it seems to lack."""

    def __init__(self, now: Seconds) -> None:
        self._now = now
        self._forbidden_since: float | None = None
        self._told = -math.inf

    def tell(self, state: RetryCallState) -> None:
        """To be called after each failure that is tried again."""
        if state.attempt_number == 1:
            self._forbidden_since, self._told = None, -math.inf
        now, error = self._now(), state.outcome.exception() if state.outcome else None
        if not isinstance(error, Forbidden):
            self._forbidden_since = None
        elif self._forbidden_since is None:
            self._forbidden_since = now
        if now - self._told < TELL_EVERY:
            return
        self._told = now
        if isinstance(error, Forbidden) and self._forbidden_for(now) >= FORBIDDEN_FOR:
            log.warning(
                "The cluster has not allowed this rollout to %s for %.0f s: %s. If that right is missing, "
                "grant it as docs/rbac.yaml does. It is still tried.",
                right_to(error.method, error.path),
                self._forbidden_for(now),
                error.words.rstrip("."),
            )
        else:
            log.warning("Try %d failed and is made again: %s", state.attempt_number, error)

    def _forbidden_for(self, now: float) -> float:
        return now - (now if self._forbidden_since is None else self._forbidden_since)
