"""Scale, eviction, binding, tokens, finalization, and the reviews that are only answered, never stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.apiserver.access.auth import AccountTokens, User
from lab.apiserver.changes import ownership
from lab.apiserver.changes.ownership import Manager
from lab.apiserver.endpoints.target import Target
from lab.apiserver.errors import ApiError, bad_request, conflict, invalid, invalid_value, method_not_allowed
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry import strategy
from lab.apiserver.registry.admission import Call, read
from lab.apiserver.registry.checks import check_kind, unfit_patch
from lab.apiserver.registry.deletion import Deletion, later
from lab.apiserver.registry.operations import Operations
from lab.apiserver.storage.selectors import selector_text
from lab.apiserver.types.schema import Object

Review = Callable[[Resource, str, Object, User], Object]


class Subresources:
    """What hangs below an object's name, and the kinds that are questions."""

    def __init__(
        self, operations: Operations, deletion: Deletion, accounts: AccountTokens, reviews: dict[str, Review]
    ) -> None:
        self.accounts = accounts
        self.operations = operations
        self.objects = operations.objects
        self.deletion = deletion
        self.reviews = reviews

    def review(self, resource: Resource, namespace: str, document: Object, user: User, call: Call) -> Object:
        """Answers a question that came as an object."""
        check_kind(resource, document)
        asked = read(resource, document, call)
        owner = Manager(call.manager, "Update", resource.api_version)
        asked["metadata"]["managedFields"] = ownership.after_update(
            resource.schema,
            strategy.empty(resource),
            asked,
            ownership.Managers(),
            owner,
            strategy.STATUS,
            call.now,
        )
        asked["status"] = self.reviews[resource.kind](resource, namespace, asked, user)
        return asked

    def answer(self, target: Target, verb: str, document: Any, call: Call) -> tuple[Object, int]:
        """The answer to a request on a subresource and its HTTP code. Raises ApiError."""
        resource, name = target.resource, target.subresource
        if name == "scale" and resource.scale:
            return self._scale(target, verb, document, call), 200
        if name == "eviction" and resource.table == "pods" and verb == "create":
            return self._evict(target, document, call), 201
        if name == "binding" and resource.table == "pods" and verb == "create":
            return self._bind(target, document, call), 201
        if name == "token" and resource.table == "serviceaccounts" and verb == "create":
            return self._token(target, document, call), 201
        if name == "finalize" and resource.table == "namespaces" and verb == "update":
            return self._finalize(target, document, call), 200
        if name == "log" and resource.table == "pods" and verb == "get":
            self.objects.find(resource, target.namespace, target.name)
            raise ApiError(501, "NotImplemented", "the lab keeps no logs of its simulated containers")
        raise method_not_allowed()

    def _scale(self, target: Target, verb: str, document: Any, call: Call) -> Object:
        resource = target.resource
        entry = self.objects.find(resource, target.namespace, target.name)
        old = self.objects.served(resource, entry)
        scale = self.scale_of(resource, old)
        if verb == "get":
            return scale
        wanted = document(scale) if verb == "patch" else document
        if not isinstance(wanted, dict) or not isinstance(wanted.get("spec") or {}, dict):
            raise unfit_patch(wanted, "json: cannot unmarshal the patched object into Go value of type Scale")
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            error = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
            raise invalid("Scale", "autoscaling", target.name, [error])
        version = (wanted.get("metadata") or {}).get("resourceVersion")
        new = _with_value(old, _path(resource, "specReplicasPath"), replicas)
        new["metadata"] = {
            **old["metadata"],
            "resourceVersion": version or old["metadata"]["resourceVersion"],
        }
        changed = self.operations.update(
            resource, old, new, call, "scale", lambda made: _scaled(resource, made)
        )
        return self.scale_of(resource, changed)

    def scale_of(self, resource: Resource, document: Object) -> Object:
        """The Scale of an object."""
        selector = _value(document, _path(resource, "labelSelectorPath"))
        status: Object = {"replicas": _value(document, _path(resource, "statusReplicasPath")) or 0}
        text = selector_text(selector) if isinstance(selector, dict) else selector
        if text:
            status["selector"] = text
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        metadata = {key: value for key, value in document["metadata"].items() if key in kept}
        replicas = _value(document, _path(resource, "specReplicasPath"))
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": replicas} if replicas else {},
            "status": status,
        }

    def _evict(self, target: Target, document: Object, call: Call) -> Object:
        options = document.get("deleteOptions") or {}
        call.dry_run = call.dry_run or bool(options.get("dryRun"))
        self.deletion.delete(target.resource, target.namespace, target.name, options, call)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _bind(self, target: Target, document: Object, call: Call) -> Object:
        node = (document.get("target") or {}).get("name")
        if not node:
            raise bad_request("target.name: Required value")
        entry = self.objects.find(target.resource, target.namespace, target.name)
        old = self.objects.served(target.resource, entry)
        known = old["spec"].get("nodeName")
        if known:
            why = f'pod {target.name} is already assigned to node "{known}"'
            raise conflict("pods/binding", "", target.name, why)
        bound = {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": call.now,
        }
        conditions = [c for c in old["status"].get("conditions") or [] if c["type"] != "PodScheduled"]
        new = {
            **old,
            "metadata": dict(old["metadata"]),
            "spec": {**old["spec"], "nodeName": node},
            "status": {**old["status"], "conditions": [*conditions, bound]},
        }
        self.operations.update(target.resource, old, new, call, "binding")
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _token(self, target: Target, document: Object, call: Call) -> Object:
        request = self.objects.catalog.embedded["TokenRequest"]
        asked = read(request, document, call)
        seconds = asked["spec"].get("expirationSeconds", 3600)
        if seconds < 600:
            error = invalid_value(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"
            )
            raise invalid("TokenRequest", "authentication.k8s.io", "", [error])
        account = self.objects.find(target.resource, target.namespace, target.name).object()
        audiences = asked["spec"].get("audiences") or []
        uid = account["metadata"]["uid"]
        token = self.accounts.issue(target.namespace, target.name, uid, seconds, audiences)
        asked["metadata"] = {"name": target.name, "namespace": target.namespace}
        asked["status"] = {"token": token, "expirationTimestamp": later(call.now, seconds)}
        return asked

    def _finalize(self, target: Target, document: Object, call: Call) -> Object:
        entry = self.objects.find(target.resource, "", target.name)
        old = self.objects.served(target.resource, entry)
        spec = {**old["spec"], "finalizers": (document.get("spec") or {}).get("finalizers") or []}
        new = {**old, "metadata": dict(old["metadata"]), "spec": spec}
        return self.operations.update(target.resource, old, new, call, "finalize")


def _scaled(resource: Resource, document: Object) -> Object:
    """The object as its Scale shows it: zero replicas are left out there, so that nobody owns them."""
    path = _path(resource, "specReplicasPath")
    return document if _value(document, path) else _without(document, path)


def _without(document: Object, path: list[str]) -> Object:
    head, *rest = path
    if rest and isinstance(document.get(head), dict):
        return {**document, head: _without(document[head], rest)}
    return {key: value for key, value in document.items() if key != head}


def _path(resource: Resource, name: str) -> list[str]:
    return ((resource.scale or {}).get(name) or "").strip(".").split(".")


def _value(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _with_value(document: Object, path: list[str], value: Any) -> Object:
    head, *rest = path
    return {**document, head: _with_value(document.get(head) or {}, rest, value) if rest else value}
