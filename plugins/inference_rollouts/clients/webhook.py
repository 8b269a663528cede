"""A receiver of CloudEvents over HTTP (CloudEvents 1.0, HTTP protocol binding, structured mode)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from inference_rollouts.clients.connections import TimeLeft, session
from inference_rollouts.clients.exchanges import exchange
from inference_rollouts.core.errors import PlanInvalid, ReceiverUnavailable
from inference_rollouts.core.limits import MIB
from inference_rollouts.core.reporting.transition import EVENT_MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where events go. Address, headers and `login` (user, password) may be secret: none is ever shown.

    `name` says in errors where that was set up.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    name: str = "the receiver"

    def check(self) -> None:
        """Raises PlanInvalid when this is no address."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise PlanInvalid(f"{self.name} has no address that begins with http:// or https://.")


def post(receiver: Receiver, event: Mapping[str, Any], seconds: float) -> None:
    """Have an event taken. Raises ReceiverUnavailable when it was not, within `seconds` in all."""
    headers = {**receiver.headers, "Content-Type": EVENT_MEDIA_TYPE}
    try:
        with session() as http:
            reply = exchange(
                http,
                "POST",
                receiver.url,
                TimeLeft(seconds),
                MIB,
                data=json.dumps(event).encode(),
                headers=headers,
                auth=receiver.login,
            )
    except requests.ConnectionError as error:
        words = str(error).replace(receiver.url, "it")
        raise ReceiverUnavailable(f"{receiver.name} was not told: {words}") from None
    if not 200 <= reply.status < 300:
        raise ReceiverUnavailable(f"{receiver.name} did not take the message ({reply.status}).")
