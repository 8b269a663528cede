"""What many observers see of one namespace: each kind is listed once, and watched from then on.

A watch lasts a few seconds and is followed by the next. One that ends as it should has told all that had
happened, and so has one that tells anything; what was proven too long ago is not used, and reads take its
place. So nothing old passes for new, whatever a connection that hangs pretends.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from inference_rollouts.clients import bodies
from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.core.errors import NotFound
from inference_rollouts.core.limits import FIRST_PAUSE, LONGEST_PAUSE, VIEW_AGE, WATCH_SECONDS
from inference_rollouts.core.objects.k8s import K8sObject

UNUSED = {"metadata": ("managedFields",), "spec": ("volumes",)}
UNUSED_OF_CONTAINERS = ("env", "volumeMounts")
"""What nobody reads of pods, of which there are many, and is most of what is told of them."""
GONE = 410  # HTTP's status for a version that the server does not remember any more
Version = object
"""Equal as long as nothing has changed."""
ABSENT: Version = "absent"
"""That of whatever there would be of a kind that is not served."""

log = logging.getLogger(__name__)


class Watchable(Reader, Protocol):
    """A Reader that tells what happens."""

    def pages(self, api_version: str, kind: str) -> Iterator[tuple[list[K8sObject], str]]:
        """All objects of a kind in the namespace, a page at a time, and as of which version they are."""

    def follow(self, api_version: str, kind: str, version: str, seconds: float) -> Iterator[str]:
        """The watch events after `version`, for `seconds`; whole where it ends without an error."""


class _Metadata(msgspec.Struct):
    name: str = ""
    resourceVersion: str = ""
    labels: dict[str, str] | None = None


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


_EVENT = msgspec.json.Decoder(_Event)
_OBJECT = msgspec.json.Decoder(_Object)


class _Outdated(Exception):
    """The server does not remember, or not any more, what was known: all is listed anew."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An object as it was told last, as compressed JSON: parsed only when it is read."""

    version: str
    labels: Mapping[str, str]
    text: bytes


class ClusterView:
    """A Reader of what `cluster` has in its namespace. Safe to use from threads.

    A kind is watched from when it is first read until `close`. `now` gives seconds.
    """

    def __init__(self, cluster: Watchable, now: Callable[[], float] = time.monotonic) -> None:
        self.cluster = cluster
        self._now = now
        self._kinds: dict[tuple[str, str], _WatchedKind] = {}
        self._absent: dict[tuple[str, str], float] = {}  # kinds that were not served, and when that was asked
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Watch nothing any more."""
        self._closed.set()

    def age_of(self, api_version: str, kind: str) -> float:
        """Seconds since it was certain that a kind was as it is told here; 0 where it is read each time."""
        seen = self._fresh(api_version, kind)
        proven = self._lacks_since(api_version, kind) if seen is None else seen.proven
        return 0.0 if proven is None else max(0.0, self._now() - proven)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        """As of Reader."""
        if namespace is not None or (seen := self._seen(api_version, kind)) is None:
            return self.cluster.get(api_version, kind, name, namespace)
        return seen.get(name)

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        """As of Reader."""
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        """As of Reader."""
        seen = self._seen(api_version, kind)
        return self.cluster.select(api_version, kind, labels) if seen is None else seen.select(labels or {})

    def serves(self, api_version: str, kind: str) -> bool:
        """As of Reader."""
        return self.cluster.serves(api_version, kind)

    def watch(self, api_version: str, kind: str) -> None:
        """Begin to watch a kind, and wait until it was tried."""
        self._seen(api_version, kind)

    def version_of(self, api_version: str, kind: str, name: str) -> Version:
        """That of one object; of what is not known here, one that equals no other. Nobody is asked."""
        seen = self._fresh(api_version, kind)
        return self._unknown(api_version, kind) if seen is None else seen.version_of(name)

    def versions_of(self, api_version: str, kind: str, labels: Mapping[str, str]) -> Version:
        """The same of all objects with these labels, and maybe of some that have one of them."""
        seen = self._fresh(api_version, kind)
        return self._unknown(api_version, kind) if seen is None else seen.versions_of(labels)

    def _seen(self, api_version: str, kind: str) -> _WatchedKind | None:
        """A kind as it was told, if that is not too long ago; watched from now on."""
        watched = self._kinds.get((api_version, kind))
        if self._closed.is_set():
            return None
        if watched is None:
            asked = self._now()
            if not self.cluster.serves(api_version, kind):
                self._absent[api_version, kind] = asked
                return None
            with self._lock:
                if (watched := self._kinds.get((api_version, kind))) is None:
                    watched = _WatchedKind(api_version, kind)
                    watched.begin(self.cluster, self._closed, self._now)  # where it cannot, the next one does
                    self._kinds[api_version, kind] = watched
        if not watched.tried.wait(VIEW_AGE):
            watched.tried.set()  # nobody waits for it again: it is read until it is known
        return self._fresh(api_version, kind)

    def _fresh(self, api_version: str, kind: str) -> _WatchedKind | None:
        """The same of one that is watched already: nobody is asked, and nothing is waited for."""
        watched = self._kinds.get((api_version, kind))
        if watched is None or self._closed.is_set() or self._now() - watched.proven > VIEW_AGE:
            return None
        return watched

    def _unknown(self, api_version: str, kind: str) -> Version:
        """The version of what is not seen: of a kind that is not served nothing changes."""
        return object() if self._lacks_since(api_version, kind) is None else ABSENT

    def _lacks_since(self, api_version: str, kind: str) -> float | None:
        """When the cluster was asked for a kind that it does not serve, if that is not too long ago."""
        key = api_version, kind
        asked = self._absent.get(key, -math.inf)
        is_old = self._now() - asked > VIEW_AGE
        return None if is_old or key in self._kinds or self._closed.is_set() else asked


class Look:
    """A Reader of a view that remembers what was read, so that it can tell whether that is still so."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view
        self._versions: list[tuple[Callable[[], Version], Version]] = []
        self._kinds: set[tuple[str, str]] = set()

    @property
    def age(self) -> float:
        """Seconds since it was certain that all which was read is as it was told."""
        return max((self._view.age_of(*kind) for kind in self._kinds), default=0.0)

    @property
    def unchanged(self) -> bool:
        """Whether a look now would see the same. Nobody is asked for it."""
        return all(ask() == version for ask, version in self._versions)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        """As of Reader. Of another namespace nothing is watched: nobody can tell that it is unchanged."""
        if namespace is not None:
            self._versions.append((object, object()))
        else:
            self._remember(api_version, kind, lambda: self._view.version_of(api_version, kind, name))
        return self._view.get(api_version, kind, name, namespace)

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        """As of Reader."""
        self._remember(api_version, kind, lambda: self._view.version_of(api_version, kind, name))
        return self._view.find(api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        """As of Reader."""
        self._remember(api_version, kind, lambda: self._view.versions_of(api_version, kind, labels or {}))
        return self._view.select(api_version, kind, labels)

    def serves(self, api_version: str, kind: str) -> bool:
        """As of Reader."""
        return self._view.serves(api_version, kind)

    def _remember(self, api_version: str, kind: str, ask: Callable[[], Version]) -> None:
        """Before it is read: what changes meanwhile was changed afterwards."""
        self._view.watch(api_version, kind)
        self._kinds.add((api_version, kind))
        self._versions.append((ask, ask()))


class _WatchedKind:
    """The objects of one kind, in a thread that lists and watches them. `proven`: when it last was so."""

    def __init__(self, api_version: str, kind: str) -> None:
        self.tried = threading.Event()
        self.proven = -math.inf
        self._whose = {"apiVersion": api_version, "kind": kind}
        self._key = api_version, kind
        self._lock = threading.Lock()
        self._objects: dict[str, _Kept] = {}
        self._named: dict[tuple[str, str], set[str]] = {}  # the names of objects with a label
        self._changes = 0  # of any object so far
        self._listed = 0  # of them, before all was listed
        self._changed: dict[tuple[str, str], int] = {}  # of them, until the last of an object with a label
        self._version = ""

    def begin(self, cluster: Watchable, closed: threading.Event, now: Callable[[], float]) -> None:
        """List and watch, until `closed`."""
        name = f"watch {self._key[1]}"
        threading.Thread(target=self._run, args=(cluster, closed, now), name=name, daemon=True).start()

    def get(self, name: str) -> K8sObject:
        with self._lock:
            kept = self._objects.get(name)
        if kept is None:
            raise NotFound(f"The cluster has no {self._key[1]} {name}.")
        return self._parsed(kept)

    def select(self, labels: Mapping[str, str]) -> list[K8sObject]:
        return [self._parsed(kept) for _, kept in self._with(labels)]

    def version_of(self, name: str) -> Version:
        with self._lock:
            kept = self._objects.get(name)
            return kept and (self._listed, kept.version)

    def versions_of(self, labels: Mapping[str, str]) -> Version:
        with self._lock:
            changed = [self._changed.get(pair, self._listed) for pair in labels.items()]
            return changed or self._changes

    def _parsed(self, kept: _Kept) -> K8sObject:
        return {**self._whose, **msgspec.json.decode(zlib.decompress(kept.text))}

    def _with(self, labels: Mapping[str, str]) -> list[tuple[str, _Kept]]:
        """Those with these labels, by name."""
        with self._lock:
            sets = [self._named.get(pair, set()) for pair in labels.items()]
            names = set.intersection(*sets) if sets else set(self._objects)
            return [(name, self._objects[name]) for name in sorted(names)]

    def _run(self, cluster: Watchable, closed: threading.Event, now: Callable[[], float]) -> None:
        pause, told = FIRST_PAUSE, ""
        while not closed.is_set():
            begun = now()
            try:
                if not self._version:
                    self._list(cluster, now)
                self._watch(cluster, now)
                pause, told = FIRST_PAUSE, ""
            except Exception as error:
                if isinstance(error, _Outdated) or getattr(error, "status", 0) == GONE:
                    self._version = ""
                if told != (told := type(error).__name__):
                    log.warning("%s cannot be watched, so it is read instead: %s", self._key[1], error)
                closed.wait(max(pause, min(getattr(error, "later", 0.0), LONGEST_PAUSE)))
                pause = min(2 * pause, LONGEST_PAUSE)
            self.tried.set()
            closed.wait(max(0.0, begun + FIRST_PAUSE - now()))

    def _list(self, cluster: Watchable, now: Callable[[], float]) -> None:
        """All there is, as of when it was begun to be asked for."""
        begun, newest = now(), ""
        objects: dict[str, _Kept] = {}
        for page, version in cluster.pages(*self._key):
            newest = version
            for item in page:
                objects[item["metadata"]["name"]] = _kept(msgspec.json.encode(_slim(item, self._key[1])))
        with self._lock:
            self._objects, self._named, self._version = objects, {}, newest
            self._changes += 1
            self._listed, self._changed = self._changes, {}
            for name, kept in objects.items():
                self._index(name, kept)
        self.proven = begun
        self.tried.set()

    def _watch(self, cluster: Watchable, now: Callable[[], float]) -> None:
        """What happens until this watch ends."""
        for line in cluster.follow(*self._key, self._version, WATCH_SECONDS):
            self._hear(_EVENT.decode(line))
            self.proven = now()
        self.proven = now()

    def _hear(self, event: _Event) -> None:
        text = bytes(event.object)
        if event.type == "ERROR":
            raise _Outdated(bodies.one_line(text.decode("utf-8", "replace")))
        told = _OBJECT.decode(text)
        if event.type == "BOOKMARK" and _is_older(told.metadata.resourceVersion, self._version):
            raise _Outdated(f"the server is at version {told.metadata.resourceVersion} after {self._version}")
        name, kept = told.metadata.name, None
        if event.type in ("ADDED", "MODIFIED"):
            kept = _kept(msgspec.json.encode(_slim(msgspec.json.decode(text), self._key[1])))
        with self._lock:
            if event.type != "BOOKMARK":
                self._forget(name)
            if kept:
                self._objects[name] = kept
                self._index(name, kept)
            self._version = told.metadata.resourceVersion

    def _index(self, name: str, kept: _Kept) -> None:
        self._count(kept)
        for pair in kept.labels.items():
            self._named.setdefault(pair, set()).add(name)

    def _count(self, kept: _Kept) -> None:
        """A change of an object."""
        self._changes += 1
        self._changed.update(dict.fromkeys(kept.labels.items(), self._changes))

    def _forget(self, name: str) -> None:
        if kept := self._objects.pop(name, None):
            self._count(kept)
            for pair in kept.labels.items():
                self._named[pair].discard(name)
                if not self._named[pair]:
                    del self._named[pair], self._changed[pair]


def _kept(text: bytes) -> _Kept:
    metadata = _OBJECT.decode(text).metadata
    return _Kept(metadata.resourceVersion, metadata.labels or {}, zlib.compress(text, 1))


def _is_older(version: str, known: str) -> bool:
    """Whether a server that has told of `known` is behind that: its storage was restored. What changes there
    until it is at that version again it tells nobody who knows it."""
    return version.isdecimal() and known.isdecimal() and int(version) < int(known)


def _slim(obj: K8sObject, kind: str) -> K8sObject:
    """An object without what nobody reads of it."""
    if kind != "Pod":
        return obj
    parts = {part: _without(obj[part], unused) for part, unused in UNUSED.items() if part in obj}
    for containers in ("containers", "initContainers"):
        if each := obj.get("spec", {}).get(containers):
            parts["spec"][containers] = [_without(one, UNUSED_OF_CONTAINERS) for one in each]
    return {**obj, **parts}


def _without(part: Mapping[str, Any], unused: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in unused}
