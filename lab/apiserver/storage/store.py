"""Every object in memory, every change in a journal on disk, the latest changes kept for watches.

An object is kept as the JSON that answers it, less its first two fields `kind` and `apiVersion`: these
depend on the version that a client asks for. Writes are visible at once, survive the death of the
process, and reach the disk within a second.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from lab.apiserver.storage.history import Change, Entry, Key, Table, encode
from lab.apiserver.storage.selectors import fields_at
from lab.apiserver.types.schema import Object

LEAST_TO_COMPACT = 16 * 2**20


class StoreInUse(RuntimeError):
    """The state directory belongs to another process."""


class Store:
    """Tables by name, under one counter of resource versions. Not thread safe: one event loop owns it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(directory / "lock")
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
        contents = self.table(table)
        contents.indexed = fields
        for key, entry in contents.entries.items():
            contents.entries[key] = replace(entry, fields=fields_at(entry.object(), fields))

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
        os.close(self._lock)

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


def _locked(path: Path) -> int:
    """A descriptor that holds the directory for this process. Raises StoreInUse."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreInUse(f"another server uses {path.parent}") from error
    return descriptor


def _line(version: int, table: str, key: Key, body: bytes) -> bytes:
    return encode([version, table, *key]) + b"\t" + body + b"\n"  # type: ignore[arg-type]
