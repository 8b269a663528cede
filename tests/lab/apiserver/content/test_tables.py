"""The cells and paths of tables."""

from __future__ import annotations

from lab.apiserver.content.jsonpath import find
from lab.apiserver.content.printers import age


def test_ages() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 1, 10, tzinfo=UTC)
    spans = {
        "2026-01-09T23:59:15Z": "45s",
        "2026-01-09T23:55:30Z": "4m30s",
        "2026-01-09T22:00:00Z": "120m",
        "2026-01-09T18:30:00Z": "5h30m",
        "2026-01-08T12:00:00Z": "36h",
        "2026-01-05T00:00:00Z": "5d",
        "2026-01-10T00:00:05Z": "0s",
    }
    assert {since: age(since, now) for since in spans} == spans


def test_json_paths() -> None:
    document = {"a": {"b": [{"t": "x", "v": 1}, {"t": "y", "v": True}]}, "d.e": 3}
    assert find(".a.b[*].t", document) == ["x", "y"]
    assert find('.a.b[?(@.t=="y")].v', document) == [True]
    assert find("{.a.b[0].v}", document) == [1]
    assert find(r".d\.e", document) == [3]
    assert find(".a.none.b", document) == []
