"""Lists and watches: which objects are asked for, and how they are put on the wire."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

from lab.apiserver.endpoints.options import ListOptions, version_too_large
from lab.apiserver.errors import ApiError, bad_request, expired
from lab.apiserver.kinds.conversion import converts, to_served
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.storage.history import Change, Entry, Key, Reader, Snapshot, encode
from lab.apiserver.storage.selectors import Matcher, everything, field_selector, label_selector
from lab.apiserver.storage.store import Store
from lab.apiserver.types.schema import Object

BOOKMARK_SECONDS = 60.0
LAST_BOOKMARK_SECONDS = 2.0
MOST_WAITING = 20_000


@dataclass(frozen=True)
class Selection:
    """Which objects of a resource are asked for."""

    resource: Resource
    namespace: str
    labels: Matcher
    fields: Matcher
    unfiltered: bool

    @classmethod
    def of(cls, resource: Resource, namespace: str, options: ListOptions) -> Selection:
        known = frozenset({"metadata.name", *resource.selectable})
        known |= {"metadata.namespace"} if resource.namespaced else set()
        fields, _ = field_selector(options.field_selector, known)
        unfiltered = not options.label_selector and not options.field_selector
        return cls(resource, namespace, label_selector(options.label_selector), fields, unfiltered)

    def holds(self, entry: Entry | None) -> bool:
        if entry is None or (self.namespace and entry.namespace != self.namespace):
            return False
        if self.unfiltered:
            return True
        if not self.labels(entry.labels):
            return False
        if self.fields is everything:
            return True
        names = {"metadata.name": entry.name, "metadata.namespace": entry.namespace}
        fields = _renamed(self.resource, entry.fields)
        return self.fields({**fields, **names})

    def entries(self, store: Reader) -> Iterator[Entry]:
        for entry in store.select(self.resource.table, self.namespace):
            if self.holds(entry):
                yield entry


def _renamed(resource: Resource, named: Mapping[str, str]) -> Mapping[str, str]:
    if not converts(resource):
        return named
    return {
        key.replace("involvedObject", "regarding").replace("reportingComponent", "reportingController"): value
        for key, value in named.items()
    }


def body_of(resource: Resource, entry: Entry) -> bytes:
    """An object as this resource answers it."""
    if converts(resource):
        return encode(to_served(resource, entry.object()))
    return resource.head() + entry.body


@dataclass(frozen=True)
class Page:
    """A part of a list. `metadata` is the list's."""

    entries: list[Entry]
    metadata: Object


def page(store: Reader, selection: Selection, options: ListOptions) -> Page:
    """Pages after the first show what there was at the first. Raises ApiError: 410 for versions that are
    gone, 504 for those to come."""
    table = store.table(selection.resource.table)
    version, after = store.version, None
    if options.continued:
        version, after = _continuation(options.continued)
        if version < table.since:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
    elif options.version:
        version = _listed_version(store, table.since, options)
    if table.history and version < table.history[-1].version:
        store = Snapshot(store, version)
    entries = [entry for entry in selection.entries(store) if after is None or _key(entry) > after]
    metadata: Object = {"resourceVersion": str(version)}
    if selection.resource.custom:
        metadata["continue"] = ""
    if options.limit and len(entries) > options.limit:
        kept = entries[: options.limit]
        metadata["continue"] = _token(version, _key(kept[-1]))
        if selection.unfiltered:
            metadata["remainingItemCount"] = len(entries) - options.limit
        entries = kept
    return Page(entries, metadata)


def _listed_version(store: Reader, since: int, options: ListOptions) -> int:
    """The version that a list shows: the one asked for if that is to be exact, else the current one."""
    wanted = int(options.version)
    if wanted > store.version:
        raise version_too_large(wanted, store.version)
    if options.match != "Exact" and not (options.limit and not options.match and wanted):
        return store.version
    if wanted < since:
        raise expired("The resourceVersion for the provided list is too old.")
    return wanted


def _key(entry: Entry) -> Key:
    return (entry.namespace, entry.name)


def _token(version: int, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *key]).encode()).decode().rstrip("=")


def _continuation(token: str) -> tuple[int, Key]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(version), (namespace, name)
    except (ValueError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error


def list_body(resource: Resource, found: Page) -> bytes:
    head = {"kind": resource.list_kind, "apiVersion": resource.api_version, "metadata": found.metadata}
    if resource.custom or converts(resource):
        items = b",".join(body_of(resource, entry) for entry in found.entries)
    else:
        items = b",".join(b"{" + entry.body for entry in found.entries)
    return encode(head)[:-1] + b',"items":[' + items + b"]}"


Frame = Callable[[str, Entry], bytes]


def json_frame(resource: Resource) -> Frame:
    """How a watch event is written when nothing else is asked for."""

    def frame(kind: str, entry: Entry) -> bytes:
        return b'{"type":"' + kind.encode() + b'","object":' + body_of(resource, entry) + b"}\n"

    return frame


class Watch:
    """The events of one watch. Iterate `lines`; `stop` ends it early."""

    def __init__(self, store: Store, selection: Selection, options: ListOptions, frame: Frame) -> None:
        self.store = store
        self.selection = selection
        self.options = options
        self.frame = frame
        self.table = store.table(selection.resource.table)
        self.waiting: deque[Change] = deque()
        self.wake = asyncio.Event()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True
        self.wake.set()

    def _listen(self, change: Change) -> None:
        if change.version <= int(self.options.version or 0):
            return
        self.waiting.append(change)
        if len(self.waiting) > MOST_WAITING:
            self.stopped = True
        self.wake.set()

    async def lines(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.options.timeout or 3600.0)
        announces = self.options.bookmarks and (self.options.timeout or 3600.0) > LAST_BOOKMARK_SECONDS
        marks = [deadline - LAST_BOOKMARK_SECONDS] if announces else []
        next_mark = loop.time() + BOOKMARK_SECONDS
        try:
            first = self._start()
        except ApiError as error:
            yield encode({"type": "ERROR", "object": error.status()}) + b"\n"
            return
        self.table.listeners.add(self._listen)
        try:
            if first:
                yield first
            while not self.stopped:
                text = b"".join(self._drain())
                if text:
                    yield text
                now = loop.time()
                if now >= deadline:
                    return
                if self.options.bookmarks and now >= min([next_mark, *marks]):
                    marks = [mark for mark in marks if mark > now]
                    next_mark = now + BOOKMARK_SECONDS
                    yield self._bookmark({})
                until = min([deadline, *marks] + ([next_mark] if self.options.bookmarks else []))
                await self._pause(until - loop.time())
        finally:
            self.table.listeners.discard(self._listen)

    async def _pause(self, seconds: float) -> None:
        if self.waiting or seconds <= 0:
            return
        self.wake.clear()
        try:
            await asyncio.wait_for(self.wake.wait(), seconds)
        except TimeoutError:
            return

    def _start(self) -> bytes:
        """What comes before the first change: the state, or the changes since a version."""
        wanted = int(self.options.version or 0)
        if self.options.initial_events or wanted == 0:
            frames = [self.frame("ADDED", entry) for entry in self.selection.entries(self.store)]
            if self.options.initial_events and self.options.bookmarks:
                frames.append(self._bookmark({"k8s.io/initial-events-end": "true"}))
            return b"".join(frames)
        if wanted < self.table.since:
            raise expired(f"too old resource version: {wanted} ({self.table.since})")
        self.waiting.extend(change for change in self.table.history if change.version > wanted)
        return b""

    def _drain(self) -> Iterator[bytes]:
        while self.waiting:
            change = self.waiting.popleft()
            kind, entry = self._seen(change)
            if kind:
                yield self.frame(kind, entry)

    def _seen(self, change: Change) -> tuple[str, Entry]:
        """The change as this selection sees it: what leaves the selection is deleted."""
        before = self.selection.holds(change.previous)
        after = change.type != "DELETED" and self.selection.holds(change.entry)
        if before and after:
            return "MODIFIED", change.entry
        if after:
            return "ADDED", change.entry
        if before:
            return "DELETED", change.entry if change.type == "DELETED" else self._last(change)
        return "", change.entry

    def _last(self, change: Change) -> Entry:
        """The object as it was when it was last selected, under the version at which it left."""
        assert change.previous is not None
        document = change.previous.object()
        document["metadata"]["resourceVersion"] = str(change.version)
        return Entry(
            change.previous.namespace,
            change.previous.name,
            change.version,
            encode(document)[1:],
            change.previous.labels,
            change.previous.fields,
        )

    def _bookmark(self, annotations: dict[str, str]) -> bytes:
        resource = self.selection.resource
        metadata: Object = {"resourceVersion": str(self.store.version)}
        if annotations:
            metadata["annotations"] = annotations
        document = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": document}) + b"\n"
