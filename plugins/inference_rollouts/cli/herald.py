"""Tells people of what a guardian has to do where no Airflow can: by CloudEvents, beside its rounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from inference_rollouts.clients.webhook import Receiver, post
from inference_rollouts.core.limits import NOTIFIER_PATIENCE
from inference_rollouts.core.plan.notifications import Means, Notification
from inference_rollouts.core.reporting.told import Mark
from inference_rollouts.core.reporting.transition import Transition
from inference_rollouts.rollout.guarded import guarded
from inference_rollouts.rollout.guardian import Round
from inference_rollouts.rollout.telling import deliver

WEBHOOK = Notification(by=Means.WEBHOOK, connection="--webhook-file")


class Herald:
    """Sends each transition once for as long as this process lives; without a receiver nothing.

    A round waits for nobody: while a receiver hangs, what comes is kept; what was not taken is sent again.
    """

    def __init__(self, receiver: Receiver | None, now: Callable[[], float] = time.time) -> None:
        self._receiver = receiver
        self._now = now
        self._pending: dict[str, Transition] = {}
        self._taken: set[str] = set()
        self._thread: threading.Thread | None = None

    def tell(self, seen: Round | None, *, wait: bool = False) -> None:
        """Tell of what a round saw; None is none. Who ends afterwards may `wait`."""
        for transition in guarded(seen) if self._receiver and seen else ():
            if transition.id not in self._taken:
                self._pending.setdefault(transition.id, transition)
        if self._pending and not (self._thread and self._thread.is_alive()):
            self._thread = threading.Thread(target=self._tell, name="herald", daemon=True)
            self._thread.start()
        if wait and self._thread:
            self._thread.join(NOTIFIER_PATIENCE)

    def _tell(self) -> None:
        deliver(list(self._pending.values()), [WEBHOOK], self, self._send, self._now)

    def get(self, name: str) -> Mark | None:
        """What was not taken is due again."""

    def set(self, name: str, mark: Mark) -> None:
        """It is known by `_pending` what was taken."""

    def _send(self, notification: Notification, transition: Transition) -> None:
        assert self._receiver
        post(self._receiver, transition.cloud_event(self._now()), NOTIFIER_PATIENCE)
        self._taken.add(transition.id)
        self._pending.pop(transition.id, None)
