"""The picker as Envoy's external processor (envoy.service.ext_proc.v3)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc  # type: ignore[import-untyped]
from envoy.config.core.v3 import base_pb2 as base  # type: ignore[import-untyped]
from envoy.extensions.filters.http.ext_proc.v3 import (  # type: ignore[import-untyped]
    processing_mode_pb2 as modes,
)
from envoy.service.ext_proc.v3 import external_processor_pb2 as api  # type: ignore[import-untyped]
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as rpc
from envoy.type.v3 import http_status_pb2 as http  # type: ignore[import-untyped]

from lab.gateway.picker.load import Load, choose
from lab.gateway.picker.metrics import Metrics
from lab.gateway.picker.rewrite import Decision, decide
from lab.gateway.picking import DESTINATION
from lab.kube.objects import Obj

WITH_BODY = modes.ProcessingMode(
    response_body_mode=modes.ProcessingMode.STREAMED, response_trailer_mode=modes.ProcessingMode.SEND
)


@dataclass(slots=True)
class Request:
    """What is known of the request that a stream is about; `began` is on the monotonic clock."""

    decision: Decision | None = None
    model: str = ""
    began: float = 0.0
    streamed: bool = False
    first_token: bool = False


@dataclass
class Picker(rpc.ExternalProcessorServicer):  # type: ignore[misc]
    """The picker of one pool. `loads` and `rewrites` give the present state."""

    pool: str
    loads: Callable[[], dict[str, Load]]
    rewrites: Callable[[], Iterable[Obj]]
    chance: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.pool)

    async def Process(
        self, request_iterator: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        """Answer the messages about one request; a stream lasts until its answer has ended."""
        request = Request(began=time.monotonic())
        try:
            async for message in request_iterator:
                yield self._answer(request, message)
        finally:
            if request.decision:
                seconds = time.monotonic() - request.began
                self.metrics.end(request.model, request.decision.model, seconds)

    def _answer(self, request: Request, message: Any) -> Any:
        match message.WhichOneof("request"):
            case "request_headers" if message.request_headers.end_of_stream:
                return self._pick(request, "request_headers", {})
            case "request_headers":
                return api.ProcessingResponse(request_headers=api.HeadersResponse())
            case "request_body":
                return self._pick(request, "request_body", _parse(message.request_body.body))
            case "response_headers":
                return self._begin(request, message.response_headers.headers)
            case "response_body":
                self._note_token(request)
                return api.ProcessingResponse(response_body=api.BodyResponse())
        return api.ProcessingResponse(response_trailers=api.TrailersResponse())

    def _pick(self, request: Request, stage: str, body: dict[str, Any]) -> Any:
        loads = self.loads()
        endpoint = choose(loads, self.chance)
        request.model, request.streamed = str(body.get("model") or ""), bool(body.get("stream"))
        if request.model:
            request.decision = decide(self.rewrites(), self.pool, request.model, self.chance)
            self.metrics.request(request.model, request.decision.model, request.decision.rewrite)
        if endpoint is None:
            self._count_error(request, "ServiceUnavailable")
            return _refusal("no endpoint of the pool is ready")
        loads[endpoint].given += 1
        changed = request.decision and request.decision.model != request.model
        rewritten = {**body, "model": request.decision.model} if changed and request.decision else None
        return _choice(stage, endpoint, rewritten)

    def _begin(self, request: Request, headers: Any) -> Any:
        """An answer begins. Of a stream the headers come before the first token, so its body is wanted."""
        status = next((_text(each) for each in headers.headers if each.key == ":status"), "200")
        response = api.ProcessingResponse(response_headers=api.HeadersResponse())
        if int(status) >= 400:
            self._count_error(request, "ModelServerError")
        elif request.streamed:
            response.mode_override.CopyFrom(WITH_BODY)
        return response

    def _note_token(self, request: Request) -> None:
        if request.decision and not request.first_token:
            seconds = time.monotonic() - request.began
            self.metrics.first_token(request.model, request.decision.model, seconds)
        request.first_token = True

    def _count_error(self, request: Request, code: str) -> None:
        if request.decision:
            self.metrics.error(request.model, request.decision.model, code)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _text(header: Any) -> str:
    return str(header.value or header.raw_value.decode())


def _choice(stage: str, endpoint: str, body: dict[str, Any] | None) -> Any:
    common = api.CommonResponse()
    _set_header(common, DESTINATION, endpoint)
    if body is not None:
        common.body_mutation.body = json.dumps(body).encode()
        _set_header(common, "content-length", str(len(common.body_mutation.body)))
    if stage == "request_headers":
        return api.ProcessingResponse(request_headers=api.HeadersResponse(response=common))
    return api.ProcessingResponse(request_body=api.BodyResponse(response=common))


def _set_header(common: Any, name: str, value: str) -> None:
    header = base.HeaderValue(key=name, raw_value=value.encode())
    overwrite = base.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    option = base.HeaderValueOption(header=header, append_action=overwrite)
    common.header_mutation.set_headers.append(option)


def _refusal(why: str) -> Any:
    status = http.HttpStatus(code=http.StatusCode.ServiceUnavailable)
    immediate = api.ImmediateResponse(status=status, body=why.encode(), details="no_endpoint")
    return api.ProcessingResponse(immediate_response=immediate)
