"""Python's garbage collector kept from looking through what stays; imported first, it saves a start 0.2 s.

A process that parses DAGs has hundreds of thousands of objects, nearly all of which live as long as it does.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

gc.freeze()  # what Airflow has imported


@contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """What is made here stays: to look for garbage in it, as it grows and later, takes a third of a parse of
    many plans.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
