"""Requests to a Kubernetes API server: each takes a limited time, and each answer has one meaning."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from inference_rollouts.clients import bodies
from inference_rollouts.clients.awaiting import OneAtATime
from inference_rollouts.clients.connections import TimeLeft, limit
from inference_rollouts.clients.later import told_to_wait
from inference_rollouts.clients.server_clock import ServerClock
from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    NotFound,
    PatchRefused,
)
from inference_rollouts.core.faults import Meaning, is_denied, meaning
from inference_rollouts.core.limits import ANSWER_BYTES, IDENTITY_TTL
from inference_rollouts.core.objects.k8s import K8sObject

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` has its special characters escaped."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = JSON


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status and the body's JSON value (None: it has none); `said` is text in it.

    `later`: the seconds after which it wants to be asked again, where it cannot do it now.
    """

    status: int
    body: Any
    said: str
    later: float = 0.0

    @property
    def words(self) -> str:
        """What it says, for a sentence. Nobody asks it of most answers."""
        return bodies.one_line(self.said)


@dataclass(frozen=True, slots=True)
class _Identity:
    """A client, the headers that say who we are, and when that was found out."""

    client: ApiClient
    headers: Mapping[str, str]
    at: float


class ApiServer:
    """The API server behind the official client, which `connect` makes on first use.

    Safe to use from a thread. The client gives address, identity and trust; its own requests retry, follow
    redirects and obey `Retry-After` beyond any limit, so they are not used.

    `timeout`: seconds for one request in total, and for finding out who we are, from a file or by a plugin
    that may hang. `now` gives seconds.
    """

    def __init__(
        self, connect: Callable[[], ApiClient], timeout: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self.timeout = timeout
        self._now = now
        self.clock = ServerClock()
        self._known: _Identity | None = None
        self._finding = OneAtATime(self._find_identity)

    def ask(self, request: Request, timeout: float | None = None) -> Answer:
        """Whatever the API server answers within `timeout` seconds. Raises ClusterUnavailable if nothing.

        Who we are may have expired (401): it is found out anew, and asked again if it has changed.
        """
        left = TimeLeft(self.timeout if timeout is None else timeout)
        identity = self._identity(request, left)
        answer = self._send(request, identity, left)
        if answer.status == 401:
            self._known = None
            renewed = self._identity(request, left)
            if renewed.headers != identity.headers:
                answer = self._send(request, renewed, left)
        return answer

    def follow(self, request: Request, seconds: float) -> Iterator[str]:
        """The lines of an answer as they come, whole once it ends. Raises as `call` does.

        It has `seconds` to end.
        """
        left = TimeLeft(seconds)
        try:
            answer = self._opened(request, self._identity(request, left), left)
            if answer.status == 200:
                try:
                    yield from bodies.lines(answer, ANSWER_BYTES)
                finally:
                    answer.close()
                return
            refused = _read(answer)
        except bodies.NETWORK_ERRORS as error:
            raise _unanswered(request, error, left) from error
        if refused.status == 401:
            self._known = None
        require(request, refused)

    def _send(self, request: Request, identity: _Identity, left: TimeLeft) -> Answer:
        try:
            return _read(self._opened(request, identity, left))
        except bodies.NETWORK_ERRORS as error:
            raise _unanswered(request, error, left) from error

    def _opened(self, request: Request, identity: _Identity, left: TimeLeft) -> Any:
        """An answer whose body is yet to be read. Raises `bodies.NETWORK_ERRORS`."""
        client = identity.client
        query = f"?{urlencode(request.query)}" if request.query else ""
        answer = client.rest_client.pool_manager.request(
            request.method,
            f"{client.configuration.host}{request.path}{query}",
            body=None if request.body is None else json.dumps(request.body),
            headers={**identity.headers, "Accept": JSON, "Content-Type": request.content_type},
            timeout=left,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        self.clock.hear(answer.headers.get("Date"))
        return answer

    def _identity(self, request: Request, left: TimeLeft) -> _Identity:
        """Who we are, as it was found out lately. What finds it out may fail in any way, and work later."""
        if (known := self._known) is not None and self._now() - known.at < IDENTITY_TTL:
            return known
        try:
            return self._finding.result(left.left)
        except Exception as error:
            words = f"no credentials: {bodies.words_of(error, left.seconds)}"
            raise ClusterUnavailable(request.method, request.path, 0, words) from error

    def _find_identity(self) -> _Identity:
        """A client knows when its token expires, and gets another then."""
        known = self._known
        client = known.client if known else self._connect()
        limit(client.rest_client.pool_manager)
        headers = dict(client.default_headers)
        client.update_params_for_auth(headers, [], ["BearerToken"])
        self._known = found = _Identity(client, headers, self._now())
        return found

    def call(self, request: Request, timeout: float | None = None) -> K8sObject:
        """The object that the API server answers with.

        Raises NotFound, PatchRefused or ClusterRefused for a decision, ClusterUnavailable for what may pass.
        """
        return require(request, self.ask(request, timeout))


def require(request: Request, answer: Answer) -> K8sObject:
    """The object in an answer; raises what the answer means if there is none."""
    method, path = request.method, request.path
    applies = request.content_type == APPLY
    match meaning(method, path, answer.status, answer.body, applies=applies):
        case Meaning.DONE:
            if not isinstance(answer.body, dict):
                raise ClusterUnavailable(method, path, answer.status, "the answer is no JSON object")
            return answer.body
        case Meaning.MISSING:
            raise NotFound(f"The cluster has no {path}: {answer.words}")
        case Meaning.PATCH_REFUSED:
            raise PatchRefused(f"The cluster refused a change of {path}: {answer.words}")
        case Meaning.INVALID:
            raise ClusterRefused(f"The cluster refused {method} {path}: {answer.words} ({answer.status})")
        case Meaning.MAY_PASS:
            forbidden = answer.status == 403 or is_denied(answer.body)
            error = Forbidden if forbidden else ClusterUnavailable
            raise error(method, path, answer.status, answer.words, answer.later)


def _unanswered(request: Request, error: Exception, left: TimeLeft) -> ClusterUnavailable:
    words = bodies.words_of(error, left.seconds)
    return ClusterUnavailable(request.method, request.path, 0, words)


def _read(answer: Any) -> Answer:
    try:
        data = bodies.read(answer, ANSWER_BYTES)
    finally:
        answer.close()
    body = bodies.parse_or_none(data)
    message = body.get("message") if isinstance(body, dict) else None
    said = message or data[: 2 * bodies.LONGEST_WORDS].decode("utf-8", "replace").strip() or answer.reason
    headers = answer.headers
    later = told_to_wait(answer.status, headers.get("Retry-After"), headers.get("Date"), time.time())
    return Answer(answer.status, body, said, later)
