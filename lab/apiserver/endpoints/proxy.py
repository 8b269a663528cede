"""The `proxy` subresource of pods: requests passed through to the pod's own address."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from lab.apiserver.endpoints.target import Target
from lab.apiserver.errors import ApiError, bad_request
from lab.apiserver.registry.objects import Objects

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "authorization",
    "content-length",
}
CHUNK = 64 * 1024
CONNECT_SECONDS = 10.0


class PodProxy:
    """Streams requests to pods and their answers back."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def answer(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        """Raises ApiError: 404 no such pod, 503 it does not answer."""
        url = self._url(target, request.query_string)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        body = await request.read() if request.can_read_body else None
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)
        try:
            reached = await self._session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from error
        async with reached:
            return await _passed_on(request, reached)

    def _url(self, target: Target, query: str) -> str:
        scheme, name, port = _parse(target.name)
        pod = self.objects.find(target.resource, target.namespace, name).object()
        address = pod.get("status", {}).get("podIP")
        if not address:
            raise ApiError(503, "ServiceUnavailable", f'pod "{name}" has no address yet')
        containers = pod["spec"].get("containers") or [{}]
        ports = [entry for container in containers for entry in container.get("ports") or []]
        named = {entry.get("name"): entry["containerPort"] for entry in ports}
        number = named.get(port) or port or (ports[0]["containerPort"] if ports else 80)
        return f"{scheme}://{address}:{number}/{target.rest}" + (f"?{query}" if query else "")


def _parse(text: str) -> tuple[str, str, str]:
    """`[SCHEME:]NAME[:PORT]`"""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0] or "http", parts[1], parts[2]
    if len(parts) <= 2:
        return "http", parts[0], parts[1] if len(parts) == 2 else ""
    raise bad_request(f"invalid pod request {text!r}")


async def _passed_on(request: web.BaseRequest, reached: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = [(key, value) for key, value in reached.headers.items() if key.lower() not in HOP_BY_HOP]
    response = web.StreamResponse(status=reached.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in reached.content.iter_chunked(CHUNK):
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError):
        if request.transport:
            request.transport.abort()
    return response
