"""The tree of errors in words is the tree of errors."""

from __future__ import annotations

import inspect
import re
from typing import Any

from inference_rollouts.core import errors

INDENT = len("|   ")


def told() -> dict[str, str]:
    """The parent of each error that the module's docstring names below another."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"(?P<tree>(\|   )*\+-- )?(?P<name>[A-Z]\w+)  ", line):
            depth = len(found["tree"] or "") // INDENT
            above[depth:] = [found["name"]]
            if depth:
                parents[found["name"]] = above[depth - 1]
    return parents


def test_the_docstring_has_every_error_below_its_own_parent() -> None:
    every: list[tuple[str, Any]] = inspect.getmembers(errors, inspect.isclass)
    ours = {name: each.__mro__[1].__name__ for name, each in every if each.__module__ == errors.__name__}
    assert told() == {name: parent for name, parent in ours.items() if parent != "Exception"}
