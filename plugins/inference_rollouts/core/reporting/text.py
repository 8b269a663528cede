"""Text of others in ours: it must not become markup."""

from __future__ import annotations

_MARKUP = str.maketrans(
    {"\\": "\\\\", "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "[": "\\[", "]": "\\]", "`": "'"}
)


def inert(text: str) -> str:
    """One line in which nothing is a tag, a link, an image, code or a cell of a table."""
    return " ".join(text.split()).translate(_MARKUP)
