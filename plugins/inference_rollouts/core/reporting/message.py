"""What is sent to people, whatever it is about."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Severity = Literal["critical", "error", "warning", "info"]
"""How bad it is, in PagerDuty's words (Events API v2, `severity`)."""


class Message(Protocol):
    """One message in all the forms that receivers want."""

    @property
    def id(self) -> str:
        """The same however often it is sent, and of no other message."""

    @property
    def headline(self) -> str:
        """One line of plain text."""

    @property
    def text(self) -> str:
        """All of it as plain text."""

    @property
    def html(self) -> str:
        """All of it as HTML, in which nothing that others wrote is markup."""

    @property
    def link(self) -> str:
        """Where people read on, or answer; empty where nowhere."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""

    @property
    def source(self) -> str:
        """Whose it is: a plan's name, or that of a DAG."""

    def details(self) -> dict[str, Any]:
        """What programs want to know of it."""

    def cloud_event(self, now: float) -> dict[str, Any]:
        """As CloudEvents 1.0 has it, told at `now` (Unix seconds)."""
