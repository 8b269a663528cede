"""The console's pages in a real browser, in every state: their content, their keyboard, axe's rules."""

from __future__ import annotations

import pytest

from tests.support.console_pages import look, tools

pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.skipif(bool(tools()), reason=tools() or "all tools are there"),
    pytest.mark.timeout(600),
]


def test_every_page_and_state_can_be_read_and_used() -> None:
    seen = look()
    assert seen.returncode == 0, f"{seen.stdout}\n{seen.stderr}"
