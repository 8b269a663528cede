"""Objects as they are kept, their changes, and the tables that hold both."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.apiserver.types.schema import Object

Key = tuple[str, str]
HISTORY = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: `body` continues `{"kind":...,"apiVersion":...,`; the rest is what selectors look at."""

    namespace: str
    name: str
    version: int
    body: bytes
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def object(self) -> Object:
        """A fresh copy of the object, less kind and apiVersion."""
        out: Object = json.loads(b"{" + self.body)
        return out


@dataclass(frozen=True, slots=True)
class Change:
    """One write, as watches see it: `entry` is the object after it, or as it was last when deleted."""

    type: str
    version: int
    entry: Entry
    previous: Entry | None


Listener = Callable[[Change], None]


@dataclass
class Table:
    """All objects of one kind, `keys` in order. Changes after `since` up to now are all in `history`."""

    since: int
    indexed: tuple[str, ...] = ()
    entries: dict[Key, Entry] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=HISTORY))
    listeners: set[Listener] = field(default_factory=set)

    def set(self, key: Key, entry: Entry) -> None:
        if key not in self.entries:
            insort(self.keys, key)
        self.entries[key] = entry

    def pop(self, key: Key) -> Entry:
        del self.keys[bisect_left(self.keys, key)]
        return self.entries.pop(key)

    def select(self, namespace: str) -> Iterator[Entry]:
        """The entries by namespace and name, of one namespace if given."""
        first = bisect_left(self.keys, (namespace, "")) if namespace else 0
        for key in self.keys[first:]:
            if namespace and key[0] != namespace:
                return
            yield self.entries[key]

    def record(self, change: Change) -> None:
        if len(self.history) == HISTORY:
            self.since = self.history[0].version
        self.history.append(change)
        for listener in tuple(self.listeners):
            listener(change)


class Reader(Protocol):
    """What reads need: the store, or a snapshot of it."""

    version: int

    def table(self, name: str) -> Table: ...
    def get(self, table: str, namespace: str, name: str) -> Entry | None: ...
    def select(self, table: str, namespace: str = "") -> Iterator[Entry]: ...


class Snapshot:
    """The objects as of an earlier version, as far back as the history of changes goes."""

    def __init__(self, store: Reader, version: int) -> None:
        self.store = store
        self.version = version

    def table(self, name: str) -> Table:
        now = self.store.table(name)
        entries = dict(now.entries)
        for change in reversed(now.history):
            if change.version <= self.version:
                break
            key = (change.entry.namespace, change.entry.name)
            if change.previous is None:
                entries.pop(key, None)
            else:
                entries[key] = change.previous
        return Table(now.since, now.indexed, entries, sorted(entries))

    def get(self, table: str, namespace: str, name: str) -> Entry | None:
        return self.table(table).entries.get((namespace, name))

    def select(self, table: str, namespace: str = "") -> Iterator[Entry]:
        return self.table(table).select(namespace)


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
