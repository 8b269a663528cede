"""Is a pod of the canary answering rightly, and is it warm?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion as a client saw it: status, body of a non-streamed answer, seconds to first token.

    `words` are what the server, or the network, said instead of an answer.
    """

    status: int
    body: Mapping[str, Any] | None
    ttft: float
    words: str = ""


def mistake(answer: Answer, model: str) -> str | None:
    """What is wrong with an answer to a completion request for `model`; None when it is valid."""
    if answer.status != 200:
        return f"answered {answer.status} instead of 200" + (f" ({answer.words})" if answer.words else "")
    body = answer.body
    if not isinstance(body, Mapping) or not isinstance(body.get("choices"), list) or not body["choices"]:
        return "answered without choices"
    if body.get("model") != model:
        return f"answered as model {body.get('model')!r} instead of {model!r}"
    choice, usage = body["choices"][0], body.get("usage") or {}
    if not isinstance(choice, Mapping) or not str(choice.get("text") or "").strip():
        return "answered with an empty text"
    if _is_garbled(choice["text"]):
        return f"answered with unreadable text ({choice['text'][:20]!r})"
    if choice.get("finish_reason") not in ("stop", "length"):
        return f"finished with reason {choice.get('finish_reason')!r}"
    if not usage.get("completion_tokens"):
        return "answered without counting its tokens"
    return None


def _is_garbled(text: str) -> bool:
    """Whether more than a tenth is no character; an answer cut within one may end with half of it."""
    strange = sum(char == "\ufffd" or (not char.isprintable() and not char.isspace()) for char in text)
    return strange > len(text) / 10


def is_steady(ttfts: Sequence[float], steady: int, tolerance: float) -> bool:
    """Whether the last `steady` times to first token lie within a ratio of `tolerance` of each other.

    Differences below 50 ms are noise of the network and do not count.
    """
    last = ttfts[-steady:]
    return len(last) == steady and max(last) <= max(min(last) * tolerance, min(last) + 0.05)
