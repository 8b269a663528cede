"""Telling people: to each receiver in order, to all at once, for a limited time, each message once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from inference_rollouts.clients.awaiting import all_within
from inference_rollouts.core.limits import NOTIFIER_PATIENCE, TELLING_ATTEMPTS, TELLING_FORGOTTEN
from inference_rollouts.core.plan.notifications import Notification
from inference_rollouts.core.reporting.told import Mark, Marks, is_due, mark_name
from inference_rollouts.core.reporting.transition import Transition

log = logging.getLogger(__name__)

Send = Callable[[Notification, Transition], None]
"""Sends one message; raises whatever it likes when it was not taken."""


def insist(
    transitions: Sequence[Transition],
    notifications: Sequence[Notification],
    marks: Marks,
    send: Send,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Deliver, and try again for a few minutes; for a thread of its own. Nothing is raised."""
    for attempt in range(TELLING_ATTEMPTS):
        if deliver(transitions, notifications, marks, send) or attempt == TELLING_ATTEMPTS - 1:
            return
        sleep(TELLING_FORGOTTEN + 1)


def deliver(
    transitions: Sequence[Transition],
    notifications: Sequence[Notification],
    marks: Marks,
    send: Send,
    now: Callable[[], float] = time.time,
    patience: float = NOTIFIER_PATIENCE,
) -> bool:
    """Tell what was not told yet, within `patience` seconds in all; whether nothing failed.

    What fails or hangs concerns its own receiver only, and is sent again when somebody calls this later.
    """
    failed: list[Notification] = []

    def tell(notification: Notification, messages: Sequence[tuple[str, Transition]]) -> None:
        try:
            _tell(notification, messages, marks, send, now)
        except Exception as error:
            failed.append(notification)
            log.warning("not told by %s %s: %s", notification.by.value, notification.connection, error)

    acts = []
    for place, notification in enumerate(notifications):
        messages = [
            (mark_name(each, place), each) for each in transitions if each.occasion in notification.of
        ]
        if messages:
            acts.append(partial(tell, notification, messages))
    if left := all_within(patience, acts):
        log.warning("%d receivers have not taken their messages within %g s", left, patience)
    return not failed and not left


def _tell(
    notification: Notification,
    messages: Sequence[tuple[str, Transition]],
    marks: Marks,
    send: Send,
    now: Callable[[], float],
) -> None:
    """In order: what comes after a message that was not taken waits with it. Raises what `send` raises."""
    for name, transition in messages:
        if is_due(marks.get(name), now()):
            marks.set(name, Mark(at=now()))
            send(notification, transition)
            marks.set(name, Mark(at=now(), taken=True))
            log.info("told by %s: %s", notification.by.value, transition.headline)
