"""Semantic versions (semver.org, 2.0.0) in tags, with or without a `v` before them."""

from __future__ import annotations

import re

_NUMBER = r"(0|[1-9]\d{0,17})"
_SEMVER = re.compile(rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z.-]+))?")

Rank = tuple[tuple[int, int, int], tuple[tuple[int, int, str], ...]]


def rank(name: str) -> Rank | None:
    """By which versions are ordered (paragraph 11 of the specification); None for what is no version.

    Tags cannot hold a `+`, so there is no build metadata.
    """
    found = _SEMVER.fullmatch(name)
    if not found:
        return None
    major, minor, patch, before = found.groups()
    parts = before.split(".") if before else []
    if not all(parts):
        return None
    # A release comes after all that precede it; numbers come before words, fewer parts before more.
    ranked = [(0, int(part[:18]), "") if part.isdecimal() else (1, 0, part) for part in parts] or [(2, 0, "")]
    return (int(major), int(minor), int(patch)), tuple(ranked)


def is_release(name: str) -> bool:
    """Whether it is a version, and none that precedes a release."""
    return rank(name) is not None and "-" not in name
