"""YAML as PyYAML's safe loader reads it, most of it several times as fast.

libyaml only parses; Python composes, so that lists in lists without end are an error and no crash. Where both
might read a text differently (libyaml takes more), and about every mistake, PyYAML's own parser has the word.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import ScalarNode

_DISPUTED = re.compile("[\t\ufeff]|[|>][-+0-9]*#")
"""What only libyaml takes, or takes otherwise: tabs between tokens, byte order marks, `|#`."""


def safe_load(text: str) -> Any:
    """The value of a text with one document; raises what `yaml.safe_load` raises."""
    if yaml.__with_libyaml__ and not _DISPUTED.search(text):
        with suppress(Exception):
            return yaml.load(text, _Loader)
    return yaml.safe_load(text)


if yaml.__with_libyaml__:

    class _Loader(Composer, yaml.CSafeLoader):
        def __init__(self, text: str) -> None:
            yaml.CSafeLoader.__init__(self, text)
            Composer.__init__(self)

        def compose_scalar_node(self, anchor: Any) -> ScalarNode:
            """Raises YAMLError for what is disputed, too: a bare question mark, the tag `!` alone."""
            event: Any = self.peek_event()
            if event.tag == "!" or ("?" in event.value and not event.style):
                raise yaml.YAMLError("disputed")
            return super().compose_scalar_node(anchor)
