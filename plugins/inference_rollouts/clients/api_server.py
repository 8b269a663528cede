"""Requests to a Kubernetes API server: each takes a limited time, and each answer has one meaning."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import TimeLeft, limit
from inference_rollouts.clients.server_clock import ServerClock
from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    NotFound,
    PatchRefused,
)
from inference_rollouts.core.faults import Meaning, meaning
from inference_rollouts.core.limits import ANSWER_BYTES
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
    """What came back: the status, the body's JSON value (None: it has none), and what it says in words."""

    status: int
    body: Any
    words: str


class ApiServer:
    """The API server behind the official client, which `connect` makes on first use.

    Safe to use from a thread. The client gives address, identity and trust; its own requests retry, follow
    redirects and obey `Retry-After` beyond any limit, so they are not used. `timeout`: seconds, in total.
    """

    def __init__(self, connect: Callable[[], ApiClient], timeout: float) -> None:
        self._connect = connect
        self.timeout = timeout
        self.clock = ServerClock()

    @cached_property
    def _client(self) -> ApiClient:
        client = self._connect()
        limit(client.rest_client.pool_manager)
        return client

    def ask(self, request: Request, timeout: float | None = None) -> Answer:
        """Whatever the API server answers within `timeout` seconds. Raises ClusterUnavailable if nothing."""
        seconds = self.timeout if timeout is None else timeout
        client = self._client
        headers = {**client.default_headers, "Accept": JSON, "Content-Type": request.content_type}
        self._authenticate(request, headers)
        query = f"?{urlencode(request.query)}" if request.query else ""
        try:
            answer = client.rest_client.pool_manager.request(
                request.method,
                f"{client.configuration.host}{request.path}{query}",
                body=None if request.body is None else json.dumps(request.body),
                headers=headers,
                timeout=TimeLeft(seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            self.clock.hear(answer.headers.get("Date"))
            read = _read(answer)
        except bodies.NETWORK_ERRORS as error:
            words = bodies.words_of(error, seconds)
            raise ClusterUnavailable(request.method, request.path, 0, words) from error
        if read.status == 401:  # who we are has expired: the next request finds it out anew
            self.__dict__.pop("_client", None)
        return read

    def _authenticate(self, request: Request, headers: dict[str, str]) -> None:
        """Add who we are. A plugin that gets a token may fail in any way, and may work the next time."""
        try:
            self._client.update_params_for_auth(headers, [], ["BearerToken"])
        except Exception as error:
            words = f"no credentials: {bodies.one_line(error)}"
            raise ClusterUnavailable(request.method, request.path, 0, words) from error

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
            error = Forbidden if answer.status == 403 else ClusterUnavailable
            raise error(method, path, answer.status, answer.words)


def _read(answer: Any) -> Answer:
    try:
        data = bodies.read(answer, ANSWER_BYTES)
    finally:
        answer.close()
    body = bodies.parse_or_none(data)
    message = body.get("message") if isinstance(body, dict) else None
    words = message or data[: 2 * bodies.LONGEST_WORDS].decode("utf-8", "replace").strip() or answer.reason
    return Answer(answer.status, body, bodies.one_line(words))
