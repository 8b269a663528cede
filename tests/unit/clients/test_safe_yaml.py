"""YAML is read fast, and as PyYAML reads it: the same values, the same refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.clients.safe_yaml import safe_load
from tests.support.plans import ROLLOUTS

DISPUTED = {  # libyaml takes these, and PyYAML's own parser does not, or otherwise
    "a tab after a colon": "a:\tb",
    "a tab after a value": "a: 1\t",
    "a tab in a mapping": "{\t}",
    "a question mark in a mapping": "{a?}",
    "a question mark in a list": "[really?]",
    "the tag of nothing": "a: !",
    "a tag without a name": "! a",
    "a byte order mark": "a: b\n\ufeff",
    "a comment that touches a literal": "a: |#",
    "a comment that touches a folded text": "a: >-#\n b",
}
PIECES = (
    *(
        " ",
        "  ",
        "\n",
        "\n  ",
        "\t",
        ": ",
        ":",
        "- ",
        "-",
        "? ",
        "?",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "#",
        " #",
    ),
    *(
        "&a ",
        "*a",
        "!",
        "!!str ",
        "!!int ",
        "|\n",
        "|-\n",
        ">2\n",
        "'",
        '"',
        "\\",
        "%",
        "---\n",
        "...\n",
        "@",
        "`",
    ),
    *(
        "a",
        "b c",
        "1",
        "0x1",
        "1_0",
        "1e3",
        "~",
        "null",
        "yes",
        "=",
        "<<: ",
        "12:30",
        "2024-01-01",
        "2024-13-01",
    ),
    *(
        "é",
        "\u2028",
        "\x85",
        "\ufeff",
        "\r\n",
        "\r",
        "\\u0041",
        "\\x41",
        "\\\n",
        "\x07",
        "\U0001f600",
        "http://x",
    ),
)


def outcome(load: Any, text: str) -> str:
    """The value, or the refusal in the parser's own words."""
    try:
        return repr(load(text))
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        OverflowError,
        AttributeError,
        IndexError,
        KeyError,
    ) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("text", DISPUTED.values(), ids=DISPUTED)
def test_what_parsers_dispute_is_read_as_ever(text: str) -> None:
    assert outcome(safe_load, text) == outcome(yaml.safe_load, text)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_any_text_is_read_as_ever(text: str) -> None:
    assert outcome(safe_load, text) == outcome(yaml.safe_load, text)


@given(st.data())
def test_a_plan_with_a_slip_is_read_as_ever(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(sorted(ROLLOUTS.glob("*.yaml")))).read_text().splitlines()
    first = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[first : first + data.draw(st.integers(1, 6))])
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + data.draw(st.sampled_from(PIECES)) + text[place + data.draw(st.integers(0, 2)) :]
    assert outcome(safe_load, text) == outcome(yaml.safe_load, text)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "!!seq ["])
def test_depth_without_end_is_an_error_and_no_crash(opening: str) -> None:
    with pytest.raises((RecursionError, yaml.YAMLError)):
        safe_load(opening * 50_000)


def test_plans_are_read_by_libyaml_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {path: yaml.safe_load(path.read_text()) for path in ROLLOUTS.glob("*.yaml")}
    if yaml.__with_libyaml__:
        monkeypatch.setattr(yaml, "safe_load", lambda text: pytest.fail("the slow way"))
    assert {path: safe_load(Path(path).read_text()) for path in plans} == plans


def test_without_libyaml_they_are_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    for path in ROLLOUTS.glob("*.yaml"):
        assert safe_load(path.read_text()) == yaml.safe_load(path.read_text())
