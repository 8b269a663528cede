"""The two sides of a comparison, as labels of series, and how a pool becomes the value of a label."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from inference_rollouts.core.judging.promql import LABEL, words_pattern
from inference_rollouts.core.values import Value

Labels = tuple[tuple[str, str], ...]
"""Names and values, all of which a series must have."""

_PARTS = re.compile(r"(?:[^{}\x00-\x1f\x7f]|\{namespace\}|\{pool\})+")
_NO_WORD = re.compile(r"[A-Za-z0-9}*]\*|\*[A-Za-z0-9{]")


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the comparison: the series whose `label` has `value` (in `namespace`, if given).

    A `*` in the value stands for one word of letters and digits. Two adapters share the process that counts
    them, so its start time has no such label: `process` are the labels by which it is known instead (put on
    when scraping), `request` further ones of its counters.
    """

    label: str
    value: str
    namespace: str | None = None
    process: Labels = ()
    request: Labels = ()

    def has(self, value: str) -> bool:
        """Whether a series with this value of the label is one of the arm's."""
        return re.fullmatch(words_pattern(self.value), value) is not None


def _template(text: str) -> str:
    if not _PARTS.fullmatch(text) or "{pool}" not in text:
        raise ValueError(f"{text!r} must have {{pool}}, may have {{namespace}}, and no other braces")
    if _NO_WORD.search(text):
        raise ValueError(f"in {text!r} a `*` stands for a whole word, so signs must be on both sides of it")
    return text


class ArmTemplate(Value):
    """How the exporters call a pool: the series whose `label` has a value made from its name.

    `value` is text with `{pool}` and, if need be, `{namespace}`; a `*` stands for one word of letters and
    digits that nobody knows beforehand, such as a hash or a port.
    """

    label: Annotated[str, Field(pattern=f"^{LABEL}$")]
    value: Annotated[str, Field(max_length=253), AfterValidator(_template)]

    def of(self, pool: Arm) -> Arm:
        """The arm of a pool that is known by its name and namespace."""
        value = self.value.replace("{namespace}", pool.namespace or "").replace("{pool}", pool.value)
        return Arm(self.label, value)
