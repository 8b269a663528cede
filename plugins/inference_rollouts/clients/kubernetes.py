"""A cluster: read, apply, patch, delete, and Events about it."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from inference_rollouts.clients.api_server import APPLY, JSON, JSON_PATCH, ApiServer, Request, require
from inference_rollouts.clients.discovery import Discovery, Extensions, root
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable, NotFound
from inference_rollouts.core.faults import field_owners
from inference_rollouts.core.limits import (
    EVENT_REST,
    EVENT_SLOW,
    EVENT_TIMEOUT,
    KUBERNETES_TIMEOUT,
    LIST_TIMEOUT,
)
from inference_rollouts.core.objects.k8s import K8sObject, event_name
from inference_rollouts.core.objects.ownership import OWNER

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

FIELD_MANAGER = OWNER

log = logging.getLogger(__name__)


class Reader(Protocol):
    """One cluster and namespace, as it is read. Safe to use from a thread.

    Every verb may raise ClusterUnavailable for what may pass (`core.faults` says what that is), and
    ClusterRefused for what the API server will never accept.
    """

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        """An object, of another namespace if one is given.

        Raises NotFound where the API server says that the object is not there, or does not serve its kind.
        """

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        """An object, or None where it or its kind does not exist."""

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        """All objects of a kind in the namespace (or cluster, for kinds without one) with these labels."""

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the cluster serves a kind in this group and version."""


class Cluster(Reader, Protocol):
    """The same as the rollout uses it."""

    def time(self) -> float:
        """What time it is by the API server's clock (Unix seconds), as its newest answer said."""

    def extensions(self) -> Extensions:
        """The namespaced kinds that the cluster serves beside Kubernetes' own."""

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        """All objects of a namespaced kind in all namespaces; Forbidden where that may not be read."""

    def apply(self, manifest: K8sObject, *, dry_run: bool = False, force: bool = False) -> K8sObject:
        """Server-side apply, not by force against others: raises ClusterRefused naming who owns a field.

        Our own patches own what they set (the 0 replicas of a pool that was scaled down): that is taken back.
        `force` is for what is ours alone, leases: also what somebody has edited is.
        """

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> K8sObject:
        """A JSON patch; raises PatchRefused when one of its tests fails."""

    def delete(self, obj: K8sObject) -> None:
        """Delete exactly this object (its uid); one that has gone already, or was made anew, is fine."""

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        """The Events about an object; empty where they may not be read: they only explain."""

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        """A Kubernetes Event on an object. Best effort: a failure is logged, never raised, and where one was
        slow none is written for a while."""


class KubernetesCluster:
    """A Cluster behind the official client, which `connect` makes on first use.

    `timeout` is in seconds, for one request in total; `now` gives seconds, by which what discovery said and
    who we are grow old, and Events are slow.
    """

    def __init__(
        self,
        connect: Callable[[], ApiClient],
        namespace: str,
        timeout: float = KUBERNETES_TIMEOUT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.namespace = namespace
        self._now = now
        self._tells_from = -math.inf
        self._api = ApiServer(connect, timeout, now)
        self._discovery = Discovery(self._api.ask, now)

    def time(self) -> float:
        return self._api.clock.now()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        with self._listed(api_version):
            request = Request("GET", self._path(api_version, kind, name, namespace))
            return _named(request, name, self._api.call(request))

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        with self._listed(api_version):
            whose = {"apiVersion": api_version, "kind": kind}
            return self._list(self._path(api_version, kind), whose, labels)

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        with self._listed(api_version):
            path = f"{root(api_version)}/{self._resource(api_version, kind)['name']}"
            return self._list(path, {"apiVersion": api_version, "kind": kind}, None)

    def pages(self, api_version: str, kind: str) -> Iterator[tuple[list[K8sObject], str]]:
        """All objects of a kind in the namespace, a page at a time, and as of which version they are."""
        with self._listed(api_version):
            yield from self._pages(self._path(api_version, kind), {})

    def follow(self, api_version: str, kind: str, version: str, seconds: float) -> Iterator[str]:
        """What happens to objects of a kind in the namespace after `version`, as it does, for `seconds`.

        Each line is a watch event, as JSON. When it has ended, all that had happened by then was told.
        """
        query = {
            "watch": "1",
            "resourceVersion": version,
            "timeoutSeconds": f"{seconds:.0f}",
            "allowWatchBookmarks": "true",
        }
        with self._listed(api_version):
            request = Request("GET", self._path(api_version, kind), query)
            yield from self._api.follow(request, 2 * seconds)

    def serves(self, api_version: str, kind: str) -> bool:
        return self._discovery.find(api_version, kind) is not None

    def extensions(self) -> Extensions:
        return self._discovery.extensions()

    def apply(self, manifest: K8sObject, *, dry_run: bool = False, force: bool = False) -> K8sObject:
        name = manifest["metadata"]["name"]
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        query |= {"dryRun": "All"} if dry_run else {}
        with self._listed(manifest["apiVersion"]):
            path = self._path(manifest["apiVersion"], manifest["kind"], name)
            request = Request("PATCH", path, query, manifest, APPLY)
            answer = self._api.ask(request)
            if field_owners(answer.body) == {FIELD_MANAGER}:
                request = Request("PATCH", path, query | {"force": "true"}, manifest, APPLY)
                answer = self._api.ask(request)
            return _named(request, name, require(request, answer))

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> K8sObject:
        query = {"fieldManager": FIELD_MANAGER}
        with self._listed(api_version):
            path = self._path(api_version, kind, name)
            request = Request("PATCH", path, query, list(patch), JSON_PATCH)
            return _named(request, name, self._api.call(request))

    def delete(self, obj: K8sObject) -> None:
        api_version, kind, meta = obj["apiVersion"], obj["kind"], obj["metadata"]
        body = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        try:
            with self._listed(api_version):
                self._call("DELETE", self._path(api_version, kind, meta["name"]), body=body)
        except NotFound:
            return
        except ClusterUnavailable as error:
            live = self.find(api_version, kind, meta["name"]) if error.status == 409 else obj
            if live is not None and live["metadata"]["uid"] == meta["uid"]:
                raise

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        query = {"fieldSelector": f"involvedObject.uid={obj['metadata']['uid']}", "limit": "100"}
        try:
            request = Request("GET", self._events, query)
            return _items(request, self._api.call(request))
        except (ClusterRefused, ClusterUnavailable) as error:
            log.info("%s", error)
            return []

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        if (began := self._now()) < self._tells_from:
            log.warning("did not write the Event %s (%s): the last one was too slow", reason, message)
            return
        try:
            request = Request(
                "POST",
                self._events,
                {"fieldManager": FIELD_MANAGER},
                self._event(about, reason, message, "Warning" if warning else "Normal"),
            )
            self._api.call(request, min(EVENT_TIMEOUT, self._api.timeout))
        except Exception as error:
            log.warning("could not write the Event %s (%s): %s", reason, message, error)
        if (ended := self._now()) - began > EVENT_SLOW:
            self._tells_from = ended + EVENT_REST

    def _event(self, about: K8sObject, reason: str, message: str, type_: str) -> K8sObject:
        now = datetime.now(UTC)
        meta = about["metadata"]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name(meta["name"], secrets.token_hex(8)), "namespace": self.namespace},
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": meta["name"],
                "namespace": meta.get("namespace", self.namespace),
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
            "reason": reason,
            "message": message[:1024],
            "type": type_,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": FIELD_MANAGER,
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": 1,
        }

    def _list(self, path: str, whose: dict[str, Any], labels: Mapping[str, str] | None) -> list[K8sObject]:
        """All pages; the items of a list do not say their kind themselves."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        pages = self._pages(path, {"labelSelector": selector} if selector else {})
        return [{**whose, **item} for items, _ in pages for item in items]

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[tuple[list[K8sObject], str]]:
        query = {"limit": "500", **query}
        end = time.monotonic() + LIST_TIMEOUT
        while (left := end - time.monotonic()) > 0:
            request = Request("GET", path, query)
            page = self._api.call(request, min(left, self._api.timeout))
            metadata = _object(page.get("metadata"))
            yield _items(request, page), str(metadata.get("resourceVersion", ""))
            if not (token := metadata.get("continue")):
                return
            query = query | {"continue": str(token)}
        raise ClusterUnavailable("GET", path, 0, f"the list did not end within {LIST_TIMEOUT:g} s")

    @property
    def _events(self) -> str:
        """Where Events are: every cluster serves them, so that nobody need be asked where."""
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/events"

    def _path(
        self, api_version: str, kind: str, name: str | None = None, namespace: str | None = None
    ) -> str:
        resource = self._resource(api_version, kind)
        where = quote(namespace or self.namespace, safe="")
        scope = f"/namespaces/{where}" if resource["namespaced"] else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"{root(api_version)}{scope}/{resource['name']}{tail}"

    def _resource(self, api_version: str, kind: str) -> K8sObject:
        if (resource := self._discovery.find(api_version, kind)) is None:
            raise NotFound(f"The cluster does not serve {kind} of {api_version}.")
        return resource

    @contextmanager
    def _listed(self, api_version: str) -> Iterator[None]:
        """A kind that was listed, and has no handler, may have gone: it is looked up anew the next time."""
        try:
            yield
        except ClusterUnavailable as error:
            if error.status == 404:
                self._discovery.forget(api_version)
            raise

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> K8sObject:
        return self._api.call(Request(method, path, query, body, content_type))


def _named(request: Request, name: str, obj: K8sObject) -> K8sObject:
    """An answer that is the object asked for; raises ClusterUnavailable for any other."""
    if _object(obj.get("metadata")).get("name") != name:
        raise ClusterUnavailable(request.method, request.path, 200, f"the answer is no object {name}")
    return obj


def _items(request: Request, page: K8sObject) -> list[K8sObject]:
    """The items of a list; raises ClusterUnavailable for an answer that is none."""
    items = page.get("items", ())
    if items is None:  # Go's empty list
        return []
    if not isinstance(items, list) or not all(
        _object(_object(item).get("metadata")).get("name") for item in items
    ):
        raise ClusterUnavailable(request.method, request.path, 200, "the answer is no list of objects")
    return items


def _object(value: Any) -> K8sObject:
    """A JSON object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}
