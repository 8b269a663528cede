"""Every object in memory, every change in a journal on disk, the latest changes kept for watches.

An object is kept as the JSON that answers it, less its first two fields `kind` and `apiVersion`: these
depend on the version that a client asks for. Writes are visible at once, survive the death of the
process, and reach the disk within a second.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from .schema import Object
from .selectors import fields_at

Key = tuple[str, str]
HISTORY = 1024
LEAST_TO_COMPACT = 16 * 2**20


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

    def __init__(self, store: Store, version: int) -> None:
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


class Store:
    """Tables by name, under one counter of resource versions. Not thread safe: one event loop owns it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "journal"
        self.version = 1
        self.tables: dict[str, Table] = {}
        self.live_bytes = 0
        self._load()
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.written = os.fstat(self._file).st_size
        self.dirty = False
        self.forget_changes()

    def forget_changes(self) -> None:
        """Lets watches start from here only, as after a restart."""
        for table in self.tables.values():
            table.since = self.version
            table.history.clear()

    def table(self, name: str) -> Table:
        if name not in self.tables:
            self.tables[name] = Table(since=self.version)
        return self.tables[name]

    def get(self, table: str, namespace: str, name: str) -> Entry | None:
        return self.table(table).entries.get((namespace, name))

    def select(self, table: str, namespace: str = "") -> Iterator[Entry]:
        """The entries of a table, of one namespace if given, by namespace and name."""
        return self.table(table).select(namespace)

    def index(self, table: str, fields: tuple[str, ...]) -> None:
        """Says which fields of a table's objects selectors look at, as dotted paths."""
        found = self.table(table)
        found.indexed = fields
        for key, entry in found.entries.items():
            found.entries[key] = replace(entry, fields=fields_at(entry.object(), fields))

    def put(self, table: str, document: Object) -> Entry:
        """Stores an object under a new resource version, which is written into it."""
        self.version += 1
        metadata = document["metadata"]
        metadata["resourceVersion"] = str(self.version)
        entry = self._entry(self.version, document, fields_at(document, self.table(table).indexed))
        key = (entry.namespace, entry.name)
        known = self.tables[table].entries.get(key)
        self._append(self.version, table, key, entry.body)
        self.tables[table].set(key, entry)
        self.live_bytes += len(entry.body) - (len(known.body) if known else 0)
        change = Change("MODIFIED" if known else "ADDED", self.version, entry, known)
        self.tables[table].record(change)
        self._compact_if_due()
        return entry

    def delete(self, table: str, namespace: str, name: str) -> Entry:
        """Removes an object; returns it as it was, under the resource version of its deletion."""
        known = self.tables[table].pop((namespace, name))
        self.version += 1
        document = known.object()
        document["metadata"]["resourceVersion"] = str(self.version)
        last = self._entry(self.version, document, known.fields)
        self._append(self.version, table, (namespace, name), b"")
        self.live_bytes -= len(known.body)
        self.tables[table].record(Change("DELETED", self.version, last, known))
        self._compact_if_due()
        return last

    def drop_table(self, name: str) -> None:
        """Forgets a table that holds nothing any more, with its history."""
        self.tables.pop(name, None)

    def unsynced(self) -> int | None:
        """A file descriptor to bring to the disk and to close, if anything was written since the last."""
        if not self.dirty:
            return None
        self.dirty = False
        return os.dup(self._file)

    def close(self) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def compact(self) -> None:
        """Rewrites the journal as what it amounts to."""
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as out:
            out.write(_line(self.version, "", ("", ""), b""))
            for name, table in self.tables.items():
                for key, entry in table.entries.items():
                    out.write(_line(entry.version, name, key, entry.body))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.path)
        os.close(self._file)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND, 0o600)
        self.written = os.fstat(self._file).st_size

    def _entry(self, version: int, document: Object, fields: Mapping[str, str]) -> Entry:
        metadata = document["metadata"]
        body = encode({key: value for key, value in document.items() if key not in ("kind", "apiVersion")})
        return Entry(
            metadata.get("namespace", ""),
            metadata["name"],
            version,
            body[1:],
            metadata.get("labels") or {},
            fields,
        )

    def _append(self, version: int, table: str, key: Key, body: bytes) -> None:
        line = _line(version, table, key, body)
        os.write(self._file, line)
        self.written += len(line)
        self.dirty = True

    def _compact_if_due(self) -> None:
        if self.written > LEAST_TO_COMPACT and self.written > 4 * self.live_bytes:
            self.compact()

    def _load(self) -> None:
        """Reads the journal; a last line cut short by a crash is cut off."""
        if not self.path.exists():
            return
        whole = 0
        with self.path.open("rb") as journal:
            for line in journal:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._replay(line)
        os.truncate(self.path, whole)
        for table in self.tables.values():
            table.keys = sorted(table.entries)
        self.live_bytes = sum(len(e.body) for t in self.tables.values() for e in t.entries.values())

    def _replay(self, line: bytes) -> None:
        head, _, body = line[:-1].partition(b"\t")
        version, table, namespace, name = json.loads(head)
        self.version = max(self.version, version)
        if not table:
            return
        entries = self.table(table).entries
        if body:
            metadata = json.loads(b"{" + body)["metadata"]
            entries[namespace, name] = Entry(namespace, name, version, body, metadata.get("labels") or {}, {})
        else:
            entries.pop((namespace, name), None)


def _line(version: int, table: str, key: Key, body: bytes) -> bytes:
    return encode([version, table, *key]) + b"\t" + body + b"\n"  # type: ignore[arg-type]
