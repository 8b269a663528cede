"""A cluster: read, apply, patch, delete, tell."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from inference_rollouts.core.errors import ClusterRefused, NotFound, PatchRefused
from inference_rollouts.core.limits import KUBERNETES_TIMEOUT
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import OWNER

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from kubernetes.client.exceptions import ApiException

FIELD_MANAGER = OWNER
APPLY = "application/apply-patch+yaml"

log = logging.getLogger(__name__)


class Cluster(Protocol):
    """One cluster and namespace, as the rollout uses it. Safe to use from a thread."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        """An object, of another namespace if one is given; raises NotFound."""

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        """An object, or None where it or its kind does not exist."""

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        """All objects of a kind in the namespace (or cluster, for kinds without one) with these labels."""

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        """All objects of a namespaced kind in all namespaces."""

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the cluster serves a kind in this group and version."""

    def apply(self, manifest: K8sObject, *, dry_run: bool = False) -> K8sObject:
        """Server-side apply, never by force against others: raises ClusterRefused naming who owns a field.

        Our own patches own what they set (the 0 replicas of a pool that was scaled down): that is taken back.
        """

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> K8sObject:
        """A JSON patch; raises PatchRefused when one of its tests fails."""

    def delete(self, obj: K8sObject) -> None:
        """Delete exactly this object (its uid); one that has gone already, or was made anew, is fine."""

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        """What was told about an object; empty where it may not be read: it is only for explanations."""

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        """A Kubernetes Event on an object. Telling is best effort: a failure is logged, never raised."""


class KubernetesCluster:
    """A Cluster behind the official client, which `connect` makes on first use."""

    def __init__(self, connect: Callable[[], ApiClient], namespace: str) -> None:
        self._connect = connect
        self.namespace = namespace
        self._resources: dict[str, dict[str, K8sObject]] = {}

    @cached_property
    def _client(self) -> ApiClient:
        return self._connect()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> K8sObject:
        return self._call("GET", self._path(api_version, kind, name, namespace))

    def find(self, api_version: str, kind: str, name: str) -> K8sObject | None:
        try:
            return self.get(api_version, kind, name)
        except NotFound:
            return None

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        return self._list(self._path(api_version, kind), {"apiVersion": api_version, "kind": kind}, labels)

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        resource = self._resource(api_version, kind)
        path = f"{_root(api_version)}/{resource['name']}"
        return self._list(path, {"apiVersion": api_version, "kind": kind}, None)

    def serves(self, api_version: str, kind: str) -> bool:
        return kind in self._discover(api_version)

    def apply(self, manifest: K8sObject, *, dry_run: bool = False) -> K8sObject:
        path = self._path(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "false"} | ({"dryRun": "All"} if dry_run else {})
        try:
            return self._call("PATCH", path, query, manifest, APPLY)
        except PatchRefused as error:
            if not _is_own_conflict(error.__cause__):
                raise
        return self._call("PATCH", path, query | {"force": "true"}, manifest, APPLY)

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> K8sObject:
        path, query = self._path(api_version, kind, name), {"fieldManager": FIELD_MANAGER}
        # The official client takes only a list for a JSON patch, and sends anything else as a merge patch.
        return self._call("PATCH", path, query, list(patch), "application/json-patch+json")

    def delete(self, obj: K8sObject) -> None:
        meta = obj["metadata"]
        path = self._path(obj["apiVersion"], obj["kind"], meta["name"])
        body = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        with suppress(NotFound, PatchRefused):
            self._call("DELETE", path, body=body)

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        query = {"fieldSelector": f"involvedObject.uid={obj['metadata']['uid']}", "limit": "100"}
        try:
            return list(self._call("GET", self._path("v1", "Event"), query)["items"])
        except ClusterRefused as error:
            log.info("%s", error)
            return []

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        now = datetime.now(UTC)
        meta = about["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{secrets.token_hex(8)}", "namespace": self.namespace},
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
            "type": "Warning" if warning else "Normal",
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": FIELD_MANAGER,
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": 1,
        }
        try:
            self._call("POST", self._path("v1", "Event"), {"fieldManager": FIELD_MANAGER}, body)
        except Exception as error:
            log.warning("could not write the Event %s (%s): %s", reason, message, error)

    def _list(self, path: str, whose: K8sObject, labels: Mapping[str, str] | None) -> list[K8sObject]:
        """All pages; the items of a list do not say their kind themselves."""
        query = {"limit": "500"}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        items: list[K8sObject] = []
        while True:
            page = self._call("GET", path, query)
            items += [whose | item for item in page["items"]]
            if not (token := page["metadata"].get("continue")):
                return items
            query["continue"] = token

    def _path(
        self, api_version: str, kind: str, name: str | None = None, namespace: str | None = None
    ) -> str:
        resource = self._resource(api_version, kind)
        where = quote(namespace or self.namespace, safe="")
        scope = f"/namespaces/{where}" if resource["namespaced"] else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"{_root(api_version)}{scope}/{resource['name']}{tail}"

    def _resource(self, api_version: str, kind: str) -> K8sObject:
        try:
            return self._discover(api_version)[kind]
        except KeyError:
            raise NotFound(f"The cluster does not serve {kind} of {api_version}.") from None

    def _discover(self, api_version: str) -> dict[str, K8sObject]:
        if api_version not in self._resources:
            try:
                resources = self._call("GET", _root(api_version))["resources"]
            except NotFound:
                resources = []
            self._resources[api_version] = {r["kind"]: r for r in resources if "/" not in r["name"]}
        return self._resources[api_version]

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> K8sObject:
        from kubernetes.client.exceptions import ApiException

        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=KUBERNETES_TIMEOUT,
            )
        except ApiException as error:
            raise _refusal(method, path, error) from error
        return json.loads(answer.data)  # type: ignore[no-any-return]


def connect(kubeconfig: Path, context: str | None = None) -> ApiClient:
    """The official client of a kubeconfig's cluster, in its current context unless one is given."""
    from kubernetes.config import new_client_from_config

    return new_client_from_config(config_file=str(kubeconfig), context=context)


def _root(api_version: str) -> str:
    return f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"


def _is_own_conflict(error: Any) -> bool:
    """Whether an apply was refused only because of fields that our own patches set."""
    try:
        causes = json.loads(error.body)["details"]["causes"]
    except (TypeError, ValueError, KeyError):
        return False
    ours = f'conflict with "{FIELD_MANAGER}" '
    return bool(causes) and all(
        cause.get("reason") == "FieldManagerConflict" and cause.get("message", "").startswith(ours)
        for cause in causes
    )


def _refusal(method: str, path: str, error: ApiException) -> Exception:
    """The error of ours that an answer of the API server stands for; others stay and are retried."""
    try:
        words = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        words = str(error.reason)
    match error.status:
        case 404:
            return NotFound(f"The cluster has no {path}: {words}")
        case 409 | 422 if method in ("PATCH", "DELETE"):
            return PatchRefused(f"The cluster refused a change of {path}: {words}")
        case 401 | 403:
            return ClusterRefused(f"The cluster does not allow {method} {path}: {words}")
        case _:
            other: Exception = error
            return other
