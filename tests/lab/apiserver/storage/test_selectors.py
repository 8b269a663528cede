"""Label and field selectors."""

from __future__ import annotations

import pytest

from lab.apiserver.errors import ApiError
from lab.apiserver.storage.selectors import field_selector, label_selector


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("a=1,b!=2", {"a": "1"}, True),
        ("a in (1,2),!c", {"a": "2"}, True),
        ("a notin (1)", {}, True),
        ("a notin (1)", {"a": "1"}, False),
        ("a", {"b": "1"}, False),
        ("a==1", {"a": "1"}, True),
        ("a>3", {"a": "4"}, True),
        ("x.example/a = 1 , b", {"x.example/a": "1", "b": ""}, True),
        ("", {}, True),
    ],
)
def test_label_selectors(selector: str, labels: dict[str, str], matches: bool) -> None:
    assert label_selector(selector)(labels) is matches


@pytest.mark.parametrize("selector", ["a b", "=", "a in 1", "a=b c", "a>x", "(", "!"])
def test_label_selectors_that_mean_nothing(selector: str) -> None:
    with pytest.raises(ApiError):
        label_selector(selector)


def test_field_selectors() -> None:
    matcher, equal = field_selector("a=1,b!=2", frozenset("ab"))
    assert equal == {"a": "1"}
    assert matcher({"a": "1"})
    assert not matcher({"a": "1", "b": "2"})
    with pytest.raises(ApiError):
        field_selector("c=1", frozenset("ab"))


@pytest.mark.parametrize("selector", ["a=b=c", "a=\\x", "a=b\\"])
def test_values_of_field_selectors_are_escaped(selector: str) -> None:
    with pytest.raises(ApiError):
        field_selector(selector, frozenset("a"))
    matcher, _ = field_selector(r"a=b\=c\,d", frozenset("a"))
    assert matcher({"a": "b=c,d"})
