"""From an HTTP request to its answer: who asks, for what, may he, and which fault befalls him."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Sequence

from aiohttp import web

from lab.apiserver.access.auth import User
from lab.apiserver.access.identity import user_of
from lab.apiserver.access.rbac import Action
from lab.apiserver.content import discovery
from lab.apiserver.content.descriptions import Descriptions
from lab.apiserver.content.documents import read_json
from lab.apiserver.endpoints import reviews, target
from lab.apiserver.endpoints.faults import Faults, Rule
from lab.apiserver.endpoints.handlers import Answer, Handlers
from lab.apiserver.endpoints.listing import Watch
from lab.apiserver.endpoints.options import is_true
from lab.apiserver.endpoints.proxy import PodProxy
from lab.apiserver.endpoints.subresources import Subresources
from lab.apiserver.endpoints.target import Target
from lab.apiserver.errors import ApiError, method_not_allowed, page_not_found
from lab.apiserver.registry.cluster import Cluster
from lab.apiserver.storage.history import Reader, Snapshot, encode

log = logging.getLogger(__name__)
HEALTH_PATHS = re.compile(r"/(healthz|readyz|livez)(/.*)?")
RESOURCE_PATH = re.compile(r"/api/[^/]+/.+|/apis/[^/]+/[^/]+/.+")
MOST_BODY_BYTES = 3 * 2**20
"""The largest body of a request, as in Kubernetes."""
LEAST_TO_COMPRESS = 128 * 2**10
"""Answers larger than this go compressed to who takes that, as in Kubernetes."""
FAULTS_PATH = "/lab/faults"
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "linux/amd64",
}


class Router:
    """Answers every request to a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        answers = reviews.answers(cluster.authenticator, cluster.authorizer)
        accounts = cluster.authenticator.accounts
        subresources = Subresources(cluster.operations, cluster.deletion, accounts, answers)
        self.handlers = Handlers(cluster.operations, cluster.deletion, subresources, cluster.authorizer)
        self.proxy = PodProxy(cluster.objects)
        self.descriptions = Descriptions(cluster.catalog)
        self.faults = Faults()
        self.watches: set[Watch] = set()

    async def close(self) -> None:
        """Ends every watch, so that connections can be closed."""
        for watch in tuple(self.watches):
            watch.stop()
        await self.proxy.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            failure = error
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {MOST_BODY_BYTES}"
            failure = ApiError(413, "RequestEntityTooLarge", text, {})
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {error}")
        return _response(request, Answer(encode(failure.status()), failure.code, failure.headers))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        user = user_of(request.headers, self.cluster.authenticator, self.cluster.authorizer)
        if path == FAULTS_PATH and user.is_master:
            return await self._plan_faults(request)
        if not RESOURCE_PATH.fullmatch(path):
            self.cluster.authorizer.demand(user, Action(request.method.lower(), path=path))
            return self._describe(request, path)
        raw_path = request.rel_url.raw_path
        old_watch = target.of_old_watch(raw_path) if "/watch/" in raw_path else ""
        try:
            destination, served = target.find(self.cluster.catalog, old_watch or raw_path), True
        except ApiError:
            destination, served = target.unserved(old_watch or raw_path), False
        verb = destination.verb(request.method, bool(old_watch) or is_true(request.query.get("watch")))
        if not user.is_master:
            selector = request.query.get("fieldSelector", "")
            action = destination.action(verb or request.method.lower(), selector)
            self.cluster.authorizer.demand(user, action)
        if not served:
            raise page_not_found()
        _check_served(destination, verb)
        struck = self.faults.strike(verb, path, user.name) if self.faults.rules else ()
        return await self._answer(request, destination, verb, user, struck)

    async def _answer(
        self, request: web.BaseRequest, found: Target, verb: str, user: User, struck: Sequence[Rule]
    ) -> web.StreamResponse:
        reader: Reader = self.cluster.store
        for rule in struck:
            if rule.kind == "latency":
                await asyncio.sleep(rule.seconds)
            elif rule.kind == "expired" and verb == "watch":
                gone = {"type": "ERROR", "object": rule.error().status()}
                return _response(request, Answer(encode(gone) + b"\n"))
            elif rule.kind in ("error", "expired"):
                raise rule.error()
            elif rule.kind == "reset-before":
                raise _reset(request)
            elif rule.kind == "stale":
                reader = Snapshot(self.cluster.store, rule.version)
        if found.subresource == "proxy" and found.resource.table == "pods":
            return await self.proxy.answer(request, found)
        if verb == "watch":
            return await self._watch(request, found, struck)
        answer = await self.handlers.answer(request, found, verb, user, reader)
        if any(rule.kind == "reset-after" for rule in struck):
            raise _reset(request)
        return _response(request, answer)

    async def _watch(
        self, request: web.BaseRequest, found: Target, struck: Sequence[Rule]
    ) -> web.StreamResponse:
        watch = self.handlers.watch(found, request.query, request.headers.get("Accept", ""))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self.watches.add(watch)
        cut = next((rule for rule in struck if rule.kind == "drop-watch"), None)
        if cut is not None:
            asyncio.get_running_loop().call_later(cut.seconds, watch.stop)
        try:
            await response.prepare(request)
            async for lines in watch.lines():
                await response.write(lines)
            if cut is not None:
                raise _reset(request)
            await response.write_eof()
        except ConnectionError:
            pass
        finally:
            self.watches.discard(watch)
        return response

    def _describe(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if HEALTH_PATHS.fullmatch(path):
            return web.Response(text="ok")
        if request.method != "GET" and not (request.method == "HEAD" and path.startswith("/openapi/")):
            raise method_not_allowed()
        if path.rstrip("/") == "/version":
            return _response(request, Answer(encode(VERSION)))
        body, headers = self.descriptions.get(path, request.headers.get("Accept", ""))
        if headers.get("ETag", "") == request.headers.get("If-None-Match"):
            return web.Response(status=304, headers=headers)
        return _response(request, Answer(body, 200, headers))

    async def _plan_faults(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET shows the rules and how often each struck, POST replaces them, DELETE ends them."""
        if request.method == "POST":
            plan = read_json(await request.read(), "faults")
            self.faults.set(plan, self.cluster.store.version)
        elif request.method == "DELETE":
            self.faults.clear()
        elif request.method != "GET":
            raise method_not_allowed()
        return _response(request, Answer(encode(self.faults.describe())))


def _check_served(found: Target, verb: str) -> None:
    """Raises ApiError: 404 for subresources that a kind does not have, 405 for verbs it does not know."""
    if not found.subresource:
        allowed: Sequence[str] = found.resource.verbs
    elif found.subresource in discovery.subresources(found.resource):
        allowed = discovery.sub_verbs(found.subresource)
    else:
        raise page_not_found()
    if verb not in allowed or (found.everywhere and verb not in ("list", "watch")):
        raise method_not_allowed()


def _reset(request: web.BaseRequest) -> ConnectionError:
    """Breaks the connection off; what is returned is to be raised."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError("a fault broke the connection off")


def _response(request: web.BaseRequest, answer: Answer) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache, private", **answer.headers}
    body = answer.body
    if len(body) > LEAST_TO_COMPRESS and _takes_gzip(request.headers.get("Accept-Encoding", "")):
        body = gzip.compress(body, compresslevel=1)
        varies = [name for name in (headers.get("Vary"), "Accept-Encoding") if name]
        headers |= {"Content-Encoding": "gzip", "Vary": ", ".join(varies)}
    return web.Response(body=body, status=answer.code, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    return any(item.partition(";")[0].strip() == "gzip" for item in accepted.split(","))
