"""CEL rules of custom kinds."""

from __future__ import annotations

from typing import Any

import pytest

from lab.apiserver.kinds import cel
from lab.apiserver.types.schema import Parser


@pytest.mark.parametrize(
    ("rule", "new", "old", "holds"),
    [
        ("self.a == oldSelf.a", {"a": 1}, {"a": 2}, False),
        ("self.a == oldSelf.a", {"a": 1}, cel.MISSING, True),
        ("self.a.matches('^x+$')", {"a": "xx"}, cel.MISSING, True),
        ("self.missing == 1", {"a": 1}, cel.MISSING, False),
        ("has(self.__namespace__)", {"namespace": "n"}, cel.MISSING, True),
        ("self.a__dash__b == 1", {"a-b": 1}, cel.MISSING, True),
        ("self.a.split(',').size() == 2", {"a": "x,y"}, cel.MISSING, True),
        ("isURL(self.a) && !isIP(self.a)", {"a": "https://x"}, cel.MISSING, True),
        ("quantity(self.a).isLessThan(quantity('1'))", {"a": "500m"}, cel.MISSING, True),
        ("duration(self.a) <= duration('1m')", {"a": "61s"}, cel.MISSING, False),
    ],
)
def test_rules(rule: str, new: Any, old: Any, holds: bool) -> None:
    properties = {name: {"type": "string"} for name in ("namespace", "a-b")}
    schema = Parser().parse(
        {"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule}]}
    )
    assert (cel.check(schema, new, old, "spec") == []) is holds


def test_a_rule_says_where_and_why() -> None:
    rule = {
        "rule": "self.a > 1",
        "messageExpression": "'a is %d'.format([self.a])",
        "fieldPath": ".a",
        "reason": "FieldValueForbidden",
    }
    schema = Parser().parse(
        {"type": "object", "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [rule]}
    )
    (error,) = cel.check(schema, {"a": 1}, path="spec")
    assert (error.path, error.type, error.detail) == ("spec.a", "FieldValueForbidden", "a is 1")
    assert cel.check(schema, {"a": 1}, {"a": 1}, "spec") == []
