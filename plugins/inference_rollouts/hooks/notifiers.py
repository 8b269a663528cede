"""Airflow's notifiers, each made of one notification of a plan and one message.

They are called with texts that are ready: what others wrote is never rendered as a template, and is escaped
for whoever shows it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from html import escape
from typing import Any

from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from inference_rollouts.clients.webhook import post
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.limits import NOTIFIER_PATIENCE
from inference_rollouts.core.plan.notifications import Means, Notification
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.message import Message
from inference_rollouts.hooks.cloudevents import CloudEventsHook

PROVIDERS = {
    Means.EMAIL: ("smtp", "airflow.providers.smtp.notifications.smtp", "SmtpNotifier"),
    Means.SLACK: ("slack", "airflow.providers.slack.notifications.slack", "SlackNotifier"),
    Means.PAGERDUTY: (
        "pagerduty",
        "airflow.providers.pagerduty.notifications.pagerduty",
        "PagerdutyNotifier",
    ),
    Means.APPRISE: ("apprise", "airflow.providers.apprise.notifications.apprise", "AppriseNotifier"),
}
"""By means: Airflow's provider, and where its notifier is."""


def check_notifications(plan: Plan) -> None:
    """Raises PlanInvalid, one sentence, for a notification that could never be sent from here."""
    for place, notification in enumerate(plan.notifications):
        where = f"notifications[{place}]"
        _notifier(notification, where)
        try:
            BaseHook.get_connection(notification.connection)
        except AirflowNotFoundException as error:
            raise PlanInvalid(
                f"{where} needs Airflow's connection {notification.connection}, which does not exist; "
                "nothing was written."
            ) from error
        if notification.by is Means.WEBHOOK:
            CloudEventsHook(notification.connection).get_conn()


def send(notification: Notification, message: Message) -> None:
    """Send one message; raises whatever the notifier raises when it was not taken."""
    connection, text = notification.connection, message.text
    match notification.by:
        case Means.WEBHOOK:
            receiver = CloudEventsHook(connection).get_conn()
            post(receiver, message.cloud_event(time.time()), NOTIFIER_PATIENCE)
        case Means.EMAIL:
            _notify(
                notification,
                smtp_conn_id=connection,
                to=list(notification.to),
                subject=message.headline,
                html_content=message.html,
            )
        case Means.SLACK:
            _notify(
                notification, slack_conn_id=connection, channel=notification.to[0], text=escape(text, False)
            )
        case Means.PAGERDUTY:
            _notify(
                notification,
                pagerduty_events_conn_id=connection,
                summary=message.headline,
                severity=message.severity,
                source=message.source,
                dedup_key=message.id,
                custom_details=message.details(),
                links=[{"href": message.link, "text": "The run"}] if message.link else None,
            )
        case Means.APPRISE:
            _notify(notification, apprise_conn_id=connection, title=message.headline, body=text)


def _notify(notification: Notification, **given: Any) -> None:
    """`notify` itself: a notifier that is called renders its texts as templates first."""
    if notifier := _notifier(notification, notification.by.value):
        notifier(**given).notify({})


def _notifier(notification: Notification, where: str) -> Callable[..., Any] | None:
    """The provider's class, None where none is needed. Raises PlanInvalid where it is not installed."""
    if notification.by is Means.WEBHOOK:
        return None
    provider, module, name = PROVIDERS[notification.by]
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise PlanInvalid(
            f"{where} tells people by {notification.by.value}, and the package apache-airflow-providers-"
            f"{provider} is not installed here: install it, or take that notification out of the plan. "
            "Nothing was written."
        ) from error
    return found
