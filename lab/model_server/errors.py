"""Refusals in vLLM's words: status, type, parameter and message of an OpenAI error body."""

from __future__ import annotations

import re
from typing import Any

# What vLLM hides of its own paths in a message.
_PATHS = (
    re.compile(r"/(?:home|usr|opt|var|tmp|root|lib|mnt|srv)(?:/[\w.\-]+)+"),
    re.compile(r"(?:/[\w\-]+)+/[\w\-]+\.\w+"),
)


class ProtocolError(Exception):
    """A request that is answered with an error body."""

    def __init__(
        self, message: str, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> dict[str, Any]:
        """The OpenAI error body."""
        message = str(self)
        for pattern in _PATHS:
            message = pattern.sub("<path>", message)
        error = {"message": message, "type": self.kind, "param": self.param, "code": self.status}
        return {"error": error}


def invalid(message: str, param: str, value: object = None) -> ProtocolError:
    """A parameter that makes no sense; `value` is quoted unless it is None."""
    named = f"parameter={param}" + (f", value={value}" if value is not None else "")
    return ProtocolError(f"{message} ({named})", param=param)


def not_found(message: str, param: str | None = None) -> ProtocolError:
    """A name that nothing answers to."""
    return ProtocolError(message, 404, "NotFoundError", param)


def internal(message: str) -> ProtocolError:
    """The server's own failure."""
    return ProtocolError(message, 500, "InternalServerError")


def engine_dead() -> ProtocolError:
    """What becomes of a request whose engine died under it."""
    return internal("EngineCore encountered an issue. See stack trace (above) for the root cause.")


def queue_full() -> ProtocolError:
    """The server has as many unfinished requests as it may have (`--max-num-queued-reqs`)."""
    return ProtocolError(
        "The engine is currently busy and cannot accept new requests. Please try again later or on a "
        "different instance.",
        503,
        "Service Unavailable",
    )
