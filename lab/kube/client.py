"""An asynchronous client for any Kubernetes API server: verbs and a watch that never gives up."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from lab.kube.kubeconfig import Endpoint, load_kubeconfig
from lab.kube.objects import Obj, key_of, path_of_object

log = logging.getLogger(__name__)

Event = tuple[str, Obj]

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
WATCH_SECONDS = 290
SHORTEST_BACKOFF = 0.05
LONGEST_BACKOFF = 3.0
BUSY = 429  # nothing was done: the server is overloaded, or a kind of objects is just being removed
BUSY_PATIENCE = 30.0  # seconds


class KubeError(Exception):
    """The API server refused (its `status`, `reason`, `message`), or was not reached (`status` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason
        self.message = message


class Kube:
    """One API server, as one user. Use as `async with Kube.from_kubeconfig(path) as kube`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: str | Path) -> Kube:
        """The cluster and user of the file's current context.

        Raises ValueError when the file does not name a usable server and user.
        """
        return cls(load_kubeconfig(Path(path)))

    async def __aenter__(self) -> Kube:
        connector = aiohttp.TCPConnector(ssl=self.endpoint.ssl, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=self.endpoint.headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str, **params: Any) -> Obj:
        """The object (or whole list object) at `path`."""
        return await self._call("GET", path, params=params)

    async def list(self, path: str, **params: Any) -> list[Obj]:
        """The items of a collection, each with its `apiVersion` and `kind`."""
        return _items(await self.get(path, **params))

    async def create(self, path: str, obj: Obj, **params: Any) -> Obj:
        """POST `obj` to a collection (or a subresource such as `binding`)."""
        return await self._call("POST", path, obj, params=params)

    async def replace(self, path: str, obj: Obj, **params: Any) -> Obj:
        """PUT; 409 Conflict if `metadata.resourceVersion` is stale."""
        return await self._call("PUT", path, obj, params=params)

    async def patch(
        self,
        path: str,
        body: Any,
        kind: str = "merge",
        field_manager: str | None = None,
        force: bool | None = None,
    ) -> Obj:
        """PATCH with a `merge`, `json`, `strategic` or (server-side) `apply` patch."""
        params: dict[str, Any] = {}
        if field_manager:
            params["fieldManager"] = field_manager
        if force is not None:
            params["force"] = force
        return await self._call("PATCH", path, body, params=params, content_type=PATCH_TYPES[kind])

    async def apply(self, obj: Obj, field_manager: str, force: bool = True) -> Obj:
        """Server-side apply of a whole object."""
        return await self.patch(path_of_object(obj), obj, "apply", field_manager, force)

    async def delete(self, path: str, **options: Any) -> Obj:
        """DELETE with `options` such as `gracePeriodSeconds=0` or `preconditions={"uid": ...}`."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options} if options else None
        return await self._call("DELETE", path, body)

    async def watch(self, path: str, **params: Any) -> AsyncIterator[Event]:
        """Every change of a collection, for ever: lists, watches, reconnects, lists again after 410.

        Yields ADDED, MODIFIED and DELETED with the object, and SYNCED (the list's `metadata` only) after
        each listing. Objects that vanished while the watch was blind are yielded as DELETED.
        """
        known: dict[tuple[str, str], Obj] = {}
        version = ""
        backoff = SHORTEST_BACKOFF
        while True:
            try:
                if not version:
                    listing = await self.get(path, **params)
                    for event in _differences(known, _items(listing)):
                        yield event
                    version = listing["metadata"]["resourceVersion"]
                    yield "SYNCED", {"metadata": listing["metadata"]}
                async for kind, obj in self._watch_once(path, version, params):
                    version = obj["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        _remember(known, kind, obj)
                        yield kind, obj
                backoff = SHORTEST_BACKOFF
            except KubeError as error:
                if error.status == 410:
                    version = ""
                elif backoff == SHORTEST_BACKOFF:
                    log.warning("watch %s: %s; tried again until it works", path, error)
            await asyncio.sleep(backoff * random.uniform(0.5, 1))
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    async def _watch_once(self, path: str, version: str, params: Obj) -> AsyncIterator[Event]:
        query = {
            **params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": WATCH_SECONDS,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SECONDS + 30)
        try:
            async with self._open.get(self._url(path), params=query, timeout=timeout) as response:
                await _raise_for_status(response)
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise _error_of(event["object"].get("code", 500), event["object"])
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KubeError(0, "Unreachable", str(error) or type(error).__name__) from error

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Obj | None = None,
        content_type: str = "application/json",
    ) -> Obj:
        """The answer; one that a server is too busy to give is asked for again, up to BUSY_PATIENCE."""
        data = None if body is None else json.dumps(body)
        query = {name: _query_value(value) for name, value in (params or {}).items()}
        end, pause = asyncio.get_running_loop().time() + BUSY_PATIENCE, SHORTEST_BACKOFF
        while True:
            try:
                return await self._ask(method, path, data, query, content_type)
            except KubeError as error:
                if error.status != BUSY or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_BACKOFF)

    async def _ask(
        self, method: str, path: str, data: str | None, query: dict[str, str], content_type: str
    ) -> Obj:
        headers = {"Content-Type": content_type} if data else {}
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with self._open.request(
                method, self._url(path), params=query, data=data, headers=headers, timeout=timeout
            ) as response:
                await _raise_for_status(response)
                answer: Obj = await response.json(content_type=None)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KubeError(0, "Unreachable", str(error) or type(error).__name__) from error

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Kube as an asynchronous context manager")
        return self._session

    def _url(self, path: str) -> str:
        return self.endpoint.server + path


def _query_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _items(listing: Obj) -> list[Obj]:
    stamp = {"apiVersion": listing["apiVersion"], "kind": listing["kind"].removesuffix("List")}
    return [{**stamp, **item} for item in listing.get("items") or []]


def _differences(known: dict[tuple[str, str], Obj], items: list[Obj]) -> list[Event]:
    """The events that lead from `known` to `items`; brings `known` up to date."""
    now = {key_of(item): item for item in items}
    events = [("DELETED", obj) for key, obj in known.items() if not _same(obj, now.get(key))]
    for key, item in now.items():
        old = known.get(key)
        if not _same(item, old):
            events.append(("ADDED", item))
        elif old and old["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            events.append(("MODIFIED", item))
    known.clear()
    known.update(now)
    return events


def _same(one: Obj, other: Obj | None) -> bool:
    return other is not None and one["metadata"].get("uid") == other["metadata"].get("uid")


def _remember(known: dict[tuple[str, str], Obj], kind: str, obj: Obj) -> None:
    if kind == "DELETED":
        known.pop(key_of(obj), None)
    else:
        known[key_of(obj)] = obj


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length (`StreamReader.readline` limits them)."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = await response.text()
    status: Obj = {}
    with suppress(ValueError):
        status = json.loads(text)
    if not isinstance(status, dict) or "message" not in status:
        status = {"reason": response.reason, "message": text[:200] or response.reason}
    raise _error_of(response.status, status)


def _error_of(code: int, status: Obj) -> KubeError:
    return KubeError(code, str(status.get("reason", "")), str(status.get("message", "")))
