"""HTTP APIs that are asked with a bearer token: one that is given, or those of the identity we run as.

Where there is neither, with the user and password of the address, if it has them.
"""

from __future__ import annotations

import math
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.awaiting import within
from inference_rollouts.clients.connections import TimeLeft, session
from inference_rollouts.clients.exchanges import Reply, exchange
from inference_rollouts.clients.line import Line
from inference_rollouts.clients.server_clock import ServerClock
from inference_rollouts.core.limits import ANSWER_BYTES, TOKEN_FRESH

METADATA_SERVER = "http://metadata.google.internal"
"""Where Google gives tokens of the identity that a workload runs as."""
TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
TOKEN = re.compile("[!-~]+")  # what may stand in a header, as one word
_WITH_USER = re.compile("(https?://)([^/?#]*)@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API is, and what it is asked with: `token`, else tokens of `metadata_server`, else `basic`.

    `name` says in errors how a token is given; empty: it is not. `basic` is the user and password that stood
    in the `url`, as a header says them: each library makes something else of those, and a URL is told to
    people.
    """

    url: str
    token: str = ""
    metadata_server: str = ""
    name: str = "the connection's password"
    basic: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        if found := _WITH_USER.match(self.url):
            user, _, password = found[2].partition(":")
            basic = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            object.__setattr__(self, "basic", basic)
            object.__setattr__(self, "url", found[1] + self.url[found.end() :])

    @property
    def credentials(self) -> str:
        """With what it is asked, in a sentence for those who are refused."""
        if self.token:
            return f"It gets {self.name} as bearer token."
        if self.metadata_server:
            return "It gets tokens of the workload identity: does that have the right?"
        if self.basic:
            return "It gets the user and password of its address."
        return f"It gets no token: {self.remedy}."

    @property
    def remedy(self) -> str:
        """How it comes to a token, in half a sentence."""
        other = f"give one as {self.name}, or " if self.name else ""
        return f"{other}have a workload identity where this runs"


class NoToken(Exception):
    """There is nothing to ask an API with; `passing`: it may be otherwise the next time."""

    def __init__(self, text: str, *, passing: bool) -> None:
        super().__init__(text)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class _Identity:
    """With what `access` is asked, and until when that is good."""

    access: Access
    token: str
    until: float

    @property
    def headers(self) -> dict[str, str]:
        """That which says so, if any."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        return {"Authorization": f"Basic {self.access.basic}"} if self.access.basic else {}


class BearerApi:
    """An API at an address that `find` gives on first use, with the token. Safe to use from threads.

    `clock` is the API's, as its answers tell it.

    Tokens of an identity are got again before they expire. After a 401 address and token are found out anew,
    and where what it is asked with is another, the request is made again. `timeout`: seconds for all of that;
    `now` gives seconds.
    """

    def __init__(
        self, find: Callable[[], Access], timeout: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._timeout = timeout
        self._now = now
        self._session = session()
        self._known: _Identity | None = None
        self.clock = ServerClock()

    @property
    def access(self) -> Access:
        """What was found out last; nowhere before anything was."""
        return self._known.access if self._known else Access("")

    def ask(self, method: str, path: str, **request: Any) -> Reply:
        """The answer to a request. Raises NoToken, or requests.ConnectionError, both with one phrase."""
        left = TimeLeft(self._timeout)
        identity = self._identify(self._known, left)
        reply = self._send(identity, method, path, left, request)
        if reply.status == 401:
            renewed = self._identify(None, left)
            if renewed.headers != identity.headers:
                reply = self._send(renewed, method, path, left, request)
        return reply

    async def aask(
        self, line: Line, method: str, path: str, *, data: str, headers: Mapping[str, str]
    ) -> Reply:
        """The same in an event loop, of which nothing else is held up."""
        left, known = TimeLeft(self._timeout), self._known
        if known is None or self._now() > known.until:
            known = await line.run(lambda: self._identify(self._known, left))
        if not line.leads_to(known.access.url):
            return await line.run(partial(self.ask, method, path, data=data, headers=headers))
        reply = await self._asend(line, known, method, path, left, data, headers)
        if reply.status == 401:
            renewed = await line.run(lambda: self._identify(None, left))
            if renewed.headers != known.headers:
                reply = await self._asend(line, renewed, method, path, left, data, headers)
        return reply

    async def _asend(
        self,
        line: Line,
        identity: _Identity,
        method: str,
        path: str,
        left: TimeLeft,
        data: str,
        headers: Mapping[str, str],
    ) -> Reply:
        url, began = f"{identity.access.url}{path}", self._now()
        headers = {**headers, **identity.headers}
        reply = await line.exchange(method, url, left, ANSWER_BYTES, data=data, headers=headers)
        self.clock.hear(reply.date, self._now() - began)
        return reply

    def _send(
        self, identity: _Identity, method: str, path: str, left: TimeLeft, request: dict[str, Any]
    ) -> Reply:
        request = {**request, "headers": {**request.get("headers", {}), **identity.headers}}
        url = f"{identity.access.url}{path}"
        began = self._now()
        reply = exchange(self._session, method, url, left, ANSWER_BYTES, **request)
        self.clock.hear(reply.date, self._now() - began)
        return reply

    def _identify(self, known: _Identity | None, left: TimeLeft) -> _Identity:
        """What is known, if it is good still; else what is found out now."""
        if known is None or self._now() > known.until:
            access = known.access if known else self._found(left)
            known = self._known = self._with_token(access, left)
        return known

    def _with_token(self, access: Access, left: TimeLeft) -> _Identity:
        if access.token or not access.metadata_server:
            return _Identity(access, access.token, math.inf)
        now = self._now()
        token, seconds = self._identity_token(access, left)
        return _Identity(access, token, now + seconds - TOKEN_FRESH)

    def _found(self, left: TimeLeft) -> Access:
        try:
            return within(left.left, self._find)
        except Exception as error:
            words = bodies.words_of(error, left.seconds)
            raise NoToken(f"Nobody knows where it is: {words}", passing=False) from error

    def _identity_token(self, access: Access, left: TimeLeft) -> tuple[str, int]:
        """A token of the identity that we run as, and for how many seconds it is good."""
        url, headers = f"{access.metadata_server}{TOKEN_PATH}", {"Metadata-Flavor": "Google"}
        try:
            reply = exchange(self._session, "GET", url, left, ANSWER_BYTES, headers=headers)
        except requests.ConnectionError as error:
            raise NoToken(f"The metadata server gives no token: {error}.", passing=True) from error
        if reply.status >= 500 or reply.status == 429:
            raise NoToken(f"The metadata server gives no token now ({reply.status}).", passing=True)
        if reply.status != 200:
            raise NoToken(
                f"The metadata server gives no token ({reply.status}): {access.remedy}.", passing=False
            )
        token, seconds = reply.object.get("access_token"), reply.object.get("expires_in")
        if not isinstance(token, str) or not TOKEN.fullmatch(token) or type(seconds) is not int:
            raise NoToken("The metadata server answered with what is no token.", passing=True)
        return token, seconds
