"""PromQL as text: selectors taken apart, and values quoted."""

from __future__ import annotations

import re

LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_MATCHER = rf'{LABEL}\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"'
_SELECTOR = re.compile(
    rf"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{{\s*((?:{_MATCHER}\s*(?:,\s*(?!\}})|,?\s*(?=\}})))*)\}})?\s*"
)


def split_selector(text: str) -> tuple[str, str]:
    """Metric name and matchers of a PromQL vector selector such as `requests_total{code="500"}`.

    Raises ValueError for anything else: no functions, ranges, offsets or operators.
    """
    match = _SELECTOR.fullmatch(text)
    if not match:
        raise ValueError(f'{text!r} is not a PromQL selector like requests_total{{code=~"5.."}}')
    return match[1], (match[2] or "").strip().rstrip(",").strip()


def quoted(text: str) -> str:
    """`text` as a PromQL string literal. Raises ValueError for what UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not valid text") from error
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda c: f"\\x{ord(c[0]):02x}", escaped) + '"'


def quoted_pattern(*texts: str) -> str:
    """A PromQL string literal of the regular expression that matches exactly these texts."""
    return quoted("|".join(_escaped(text) for text in texts))


def quoted_words(*texts: str) -> str:
    """The same, of texts in which a `*` stands for one word of letters and digits."""
    return quoted("|".join(words_pattern(text) for text in texts))


def words_pattern(text: str) -> str:
    """The regular expression of such a text."""
    return "[A-Za-z0-9]+".join(_escaped(part) for part in text.split("*"))


def _escaped(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def label_name(name: str) -> str:
    """The name of a label. Raises ValueError for anything else."""
    if not re.fullmatch(LABEL, name):
        raise ValueError(f"{name!r} is not a label name")
    return name
