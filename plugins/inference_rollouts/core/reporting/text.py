"""Text that becomes part of ours: of others it must not become markup."""

from __future__ import annotations

_MARKUP = str.maketrans(
    {"\\": "\\\\", "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "[": "\\[", "]": "\\]", "`": "'"}
)


def inert(text: str) -> str:
    """One line in which nothing is a tag, a link, an image, code or a cell of a table."""
    return " ".join(text.split()).translate(_MARKUP)


def capital(text: str) -> str:
    """What was part of a sentence, as the beginning of one."""
    return f"{text[:1].upper()}{text[1:]}"
