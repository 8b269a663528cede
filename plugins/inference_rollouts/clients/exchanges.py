"""Whole exchanges over HTTP: a request, and an answer that is limited in time and size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import TimeLeft


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP's status and reason, the body, and when that was by the server's clock (`Date`).

    `headers` are found in whatever case.
    """

    status: int
    reason: str
    body: bytes
    date: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """The body's JSON value; None where it has none."""
        return bodies.parse_or_none(self.body)

    @property
    def object(self) -> dict[str, Any]:
        """The body's JSON object; an empty one where it has none."""
        value = self.json
        return value if isinstance(value, dict) else {}


def opened(
    session: requests.Session, method: str, url: str, left: TimeLeft, **request: Any
) -> requests.Response:
    """An answer whose body is yet to be read in the time that is left; raises `bodies.NETWORK_ERRORS`."""
    timeout: Any = left  # urllib3's Timeout, which requests takes as well
    return session.request(method, url, timeout=timeout, stream=True, **request)


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    left: TimeLeft,
    most: int,
    *,
    redirected: bool = False,
    **request: Any,
) -> Reply:
    """What `url` answers in the time that is left, with at most `most` bytes.

    `session` is one of `connections.session`. Where it is led elsewhere is an answer only if `redirected`.
    Raises requests.ConnectionError, whose message is one phrase.
    """
    try:
        with opened(session, method, url, left, **request) as answer:
            if answer.is_redirect and not redirected:
                raise requests.ConnectionError(f"it redirects to {answer.headers['Location']}")
            body, date = bodies.read(answer.raw, most), answer.headers.get("Date")
            return Reply(answer.status_code, str(answer.reason), body, date, answer.headers)
    except bodies.NETWORK_ERRORS as error:
        raise requests.ConnectionError(bodies.words_of(error, left.seconds)) from error
