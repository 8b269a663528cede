"""Bodies of answers: read within a size, as they come, and parsed without surprises.

How long a body may take is the connection's business (`connections`). Whatever is wrong with an answer, and
with the way to it, is one of `NETWORK_ERRORS`, of which `words_of` makes a phrase.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from typing import Any, Protocol

import requests
import urllib3

NETWORK_ERRORS = (OSError, urllib3.exceptions.HTTPError, HTTPException, ValueError)
"""What an exchange may raise; requests' errors are OSErrors, those of JSON and of encodings ValueErrors."""

CHUNK = 2**16
_ENDS_LINE = re.compile(rb"\r\n|\n|\r")
LONGEST_WORDS = 300  # characters that are quoted of what others say


class Body(Protocol):
    """The part of a urllib3 response that is needed."""

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """What has come, at least a byte; empty at the end."""


class BodyTooLarge(ValueError):
    """An answer has more bytes than it may have."""


def chunks(body: Body, most: int) -> Iterator[bytes]:
    """A body as it comes, decoded. Raises BodyTooLarge when it has more than `most` bytes."""
    size = 0
    while chunk := body.read1(CHUNK, decode_content=True):
        size += len(chunk)
        if size > most:
            raise BodyTooLarge(f"the answer is larger than {most} bytes")
        yield chunk


def read(body: Body, most: int) -> bytes:
    """A whole body. Raises BodyTooLarge when it has more than `most` bytes."""
    return b"".join(chunks(body, most))


def lines(body: Body, most: int) -> Iterator[str]:
    """The lines of a body as they come; bytes that are no UTF-8 become U+FFFD. Raises BodyTooLarge."""
    line: list[bytes] = []
    held = b""  # a carriage return, after which there may come a line feed
    for chunk in chunks(body, most):
        text = held + chunk
        held = b"\r" if text.endswith(b"\r") else b""
        first, *others = _ENDS_LINE.split(text.removesuffix(held))
        line.append(first)
        for each in others:
            yield b"".join(line).decode("utf-8", "replace")
            line = [each]
    if rest := b"".join(line):
        yield rest.decode("utf-8", "replace")


def parse(data: bytes | str) -> Any:
    """A JSON value. Raises ValueError for anything else, and for numbers and depths that nobody can use."""
    try:
        return json.loads(data, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def parse_or_none(data: bytes) -> Any:
    """A JSON value; None where there is none, as in the page of a proxy that asks for a login."""
    try:
        return parse(data)
    except ValueError:
        return None


def one_line(text: object, most: int = LONGEST_WORDS) -> str:
    """Words of others, as a sentence may quote them: printable, on one line, not too long."""
    try:
        line = " ".join(str(text).split())
    except RecursionError:
        line = "words that are nested too deeply"
    return "".join(char if char.isprintable() else "\ufffd" for char in line)[:most]


def complaint(value: Any) -> str:
    """What a JSON value says of a failure, on one line: its `error`, as OpenAI's API has it, or all of it."""
    error = value.get("error") or value if isinstance(value, dict) else value
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return one_line(error)


def words_of(error: BaseException, seconds: float) -> str:
    """What went wrong in an exchange that might take `seconds`, as a phrase.

    The first cause says it: what libraries wrap around it names their own objects.
    """
    while True:
        inner = (error.__cause__, getattr(error, "reason", None), *error.args)
        causes = [each for each in inner if isinstance(each, BaseException)]
        if not causes:
            break
        error = causes[0]
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError, requests.Timeout)):
        return f"no whole answer within {seconds:g} s"
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        said = one_line(error, 60)
        return f"no answer of HTTP/1.1, as of a server that speaks HTTPS, or HTTP/2 alone ({said})"
    return one_line(error) or type(error).__name__


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
