"""A version as a value: its name, what it is made of, and the names that are made of it."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import Field

from inference_rollouts.core.values import Value

NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
_TEXT = re.compile(rf"(?P<name>{NAME})(?:@(?P<digest>{DIGEST}))?")

VERSION, PINNED = "{version}", "{digest}"
"""What stands in a plan for a version's name and digest. In the canary's name `{version}` is its label."""

LONGEST_NAME = 40  # characters of a pool's name: GKE takes no longer name of the node pool that it also names
HASH = 8  # hexadecimal digits that keep two versions apart whose labels are otherwise the same


class Version(Value):
    """What can be rolled out. Names are those that the OCI distribution specification allows for tags.

    `digest` says what it is made of; None where the source does not know. `since` is when it came to be (Unix
    seconds), None where nobody says.
    """

    name: Annotated[str, Field(pattern=rf"^{NAME}$")]
    digest: Annotated[str, Field(pattern=rf"^{DIGEST}$")] | None = None
    since: Annotated[float, Field(ge=0)] | None = None

    @property
    def identity(self) -> str:
        """What makes it another version: another digest, whatever its name; where there is none, the name."""
        return self.digest or self.name

    @property
    def short(self) -> str:
        """For people: the name, and the first digits of the digest."""
        return f"{self.name}@{self.digest[:15]}" if self.digest else self.name

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


def parse_version(text: str) -> Version | None:
    """`NAME` or `NAME@sha256:...`; None for anything else."""
    found = _TEXT.fullmatch(text)
    return Version(name=found["name"], digest=found["digest"]) if found else None


def label_of(version: Version, room: int) -> str:
    """A part of a DNS label of at most `room` characters that no other version has.

    What a label may not hold becomes a hyphen; a hash of the identity follows, since `v1.0` and `v1-0`, or
    two digests under one tag, would else be the same.
    """
    tail = hashlib.sha256(version.identity.encode()).hexdigest()[:HASH]
    words = re.sub(r"[^a-z0-9]+", "-", version.name.lower())
    return f"{words[: max(0, room - HASH - 1)].strip('-')}-{tail}".strip("-")


def canary_name(template: str, version: Version) -> str:
    """The canary's name of a template that ends with `{version}`."""
    prefix = template.removesuffix(VERSION)
    return prefix + label_of(version, LONGEST_NAME - len(prefix))


def filled(text: str, version: Version) -> str:
    """A text with the version's name and digest in their places."""
    return text.replace(VERSION, version.name).replace(PINNED, version.digest or "")
