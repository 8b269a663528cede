"""Text of others in ours."""

from __future__ import annotations

import pytest

from inference_rollouts.core.reporting.text import inert


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\n b", "a b"),
        ("[x](https://evil)", r"\[x\](https://evil)"),
        (r"\[x\](https://evil)", r"\\\[x\\\](https://evil)"),
        (r"a\|b <i>", r"a\\\|b &lt;i&gt;"),
    ],
)
def test_what_others_wrote_is_no_markup_also_where_they_escaped_it(text: str, written: str) -> None:
    assert inert(text) == written
