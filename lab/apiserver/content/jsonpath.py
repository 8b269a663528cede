"""The part of JSONPath that printer columns use: `.a.b`, `[0]`, `[*]`, `[?(@.type=="Ready")]`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

STEP = re.compile(
    r"""\.(?P<name>(?:[^.\[\]\\]|\\.)+)|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(\s*@\.(?P<key>[\w.]+)\s*==\s*(?P<quote>["'])(?P<wanted>[^"']*)(?P=quote)\s*\)\]"""
)


def find(path: str, document: Any) -> list[Any]:
    """Everything at a path; nothing where the path leads nowhere."""
    nodes = [document]
    for step in _steps(path):
        nodes = [value for node in nodes for value in _follow(step, node)]
    return nodes


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    text = path.strip("{}")
    return tuple(STEP.finditer(text if text.startswith((".", "[")) else f".{text}"))


def _follow(step: re.Match[str], node: Any) -> list[Any]:
    name = step["name"] or step["quoted"]
    if name:
        key = name.replace("\\", "")
        return [node[key]] if isinstance(node, dict) and node.get(key) is not None else []
    if not isinstance(node, list):
        return list(node.values()) if step["all"] and isinstance(node, dict) else []
    if step["all"]:
        return list(node)
    if step["index"]:
        index = int(step["index"])
        return node[index : index + 1 or None]
    return [item for item in node if _value(item, step["key"]) == step["wanted"]]


def _value(item: Any, key: str) -> Any:
    for part in key.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return str(item).lower() if isinstance(item, bool) else item
