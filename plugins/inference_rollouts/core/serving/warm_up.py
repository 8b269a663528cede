"""Is a pod of the canary answering rightly, and is it warm?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

QUOTED = 100  # characters of a value that a sentence quotes


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole completion: as which model, with which text, why it ended there; seconds to its first token.

    `reasoning` is what it said beside its text: thoughts, which may take all tokens that it was given, calls
    of functions, or why it refuses. Empty, or 0, is what the server did not say.
    """

    model: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    ttft: float
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """No completion: HTTP's status, and what the server said, or what went wrong on the way.

    `status` 0: there was none, or one that promised a completion which did not come to its end.
    """

    status: int
    words: str

    @property
    def passing(self) -> bool:
        """Whether the same request may well be answered the next time."""
        return self.status in (0, 429) or self.status >= 500

    def __str__(self) -> str:
        if not self.status:
            return f"gave no valid answer: {self.words}"
        return f"answered {self.status} instead of 200" + (f" ({self.words})" if self.words else "")


Answer = Completion | Failure
"""What a client got for one request."""


def mistake(answer: Answer, model: str) -> str | None:
    """What is wrong with an answer to a completion request for `model`; None when it is valid."""
    if isinstance(answer, Failure):
        return str(answer)
    if answer.model != model:
        return f"answered as model {_brief(answer.model)} instead of {model!r}"
    text = answer.text if answer.text.strip() else answer.reasoning
    if not text.strip():
        return "answered with an empty text"
    if _is_garbled(text):
        return f"answered with unreadable text ({text[:20]!r})"
    if answer.finish_reason not in ("stop", "length"):
        return f"finished with reason {_brief(answer.finish_reason)}"
    if not answer.completion_tokens:
        return "answered without counting its tokens"
    return None


def _brief(text: str) -> str:
    """A word of an answer, as a sentence may quote it."""
    return repr(text[:QUOTED])


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
