"""Is a pod of the canary answering rightly, and is it warm?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

QUOTED = 100  # characters of a value that a sentence quotes
MOST_TOKENS = 10**9  # of one answer; more is no count


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
    """What is wrong with an answer to a completion request for `model`; None when it is valid.

    The body may be any JSON.
    """
    if answer.status != 200:
        return f"answered {answer.status} instead of 200" + (f" ({answer.words})" if answer.words else "")
    body = answer.body
    if not isinstance(body, Mapping) or not isinstance(body.get("choices"), list) or not body["choices"]:
        return "answered without choices"
    if body.get("model") != model:
        return f"answered as model {_brief(body.get('model'))} instead of {model!r}"
    choice = body["choices"][0]
    text = choice.get("text") if isinstance(choice, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        return "answered with an empty text"
    if _is_garbled(text):
        return f"answered with unreadable text ({text[:20]!r})"
    if choice.get("finish_reason") not in ("stop", "length"):
        return f"finished with reason {_brief(choice.get('finish_reason'))}"
    if not tokens(answer, "completion_tokens"):
        return "answered without counting its tokens"
    return None


def tokens(answer: Answer, kind: str) -> int:
    """How many tokens an answer counts (`prompt_tokens`, `completion_tokens`); 0 when it does not say."""
    usage = answer.body.get("usage") if isinstance(answer.body, Mapping) else None
    number = usage.get(kind) if isinstance(usage, Mapping) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= MOST_TOKENS:
        return 0
    return number


def _brief(value: object) -> str:
    """A value of an answer, as a sentence may quote it."""
    return repr(value)[:QUOTED]


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
