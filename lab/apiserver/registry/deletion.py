"""Deleting objects: at once, after their finalizers, or after a grace period."""

from __future__ import annotations

from datetime import datetime, timedelta

from lab.apiserver.errors import conflict, forbidden
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.objects import Objects
from lab.apiserver.types.schema import Object

PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


class Deletion:
    """The DELETE of an object."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def delete(self, resource: Resource, namespace: str, name: str, options: Object, call: Call) -> Object:
        """Deletes at once, or marks an object that has finalizers or a grace period; returns the answer."""
        entry = self.objects.find(resource, namespace, name)
        document = self.objects.served(resource, entry)
        metadata = document["metadata"]
        self._check_preconditions(resource, metadata, options)
        if resource.table == "namespaces" and name in ("default", "kube-system", "kube-public"):
            raise forbidden("namespaces", "", name, "this namespace may not be deleted")
        known = [name for name in metadata.get("finalizers") or [] if name not in PROPAGATION.values()]
        wanted = PROPAGATION.get(options.get("propagationPolicy", ""))
        kept = [name for name in metadata.get("finalizers") or [] if name in PROPAGATION.values()]
        if "propagationPolicy" in options:
            kept = [wanted] if wanted else []
        finalizers = [*known, *kept]
        marked = {**document, "metadata": {**metadata, "finalizers": finalizers}}
        if not finalizers:
            del marked["metadata"]["finalizers"]
        grace = self._grace(resource, document, options)
        content = resource.table == "namespaces" and document["spec"].get("finalizers")
        if not finalizers and grace == 0 and not content:
            if not call.dry_run:
                marked = self.objects.remove(resource, marked)
            return marked if resource.returns_deleted else _success(resource, metadata)
        return self._mark(resource, document, marked, grace, call)

    def _mark(self, resource: Resource, old: Object, marked: Object, grace: int, call: Call) -> Object:
        metadata = marked["metadata"]
        if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds", 0) <= grace:
            if metadata.get("finalizers") == old["metadata"].get("finalizers"):
                return old
        else:
            metadata["deletionTimestamp"] = later(call.now, grace)
            metadata["deletionGracePeriodSeconds"] = grace
            if metadata.get("generation"):
                metadata["generation"] += 1
        if resource.table == "namespaces":
            marked["status"] = {**marked.get("status", {}), "phase": "Terminating"}
            metadata.pop("deletionGracePeriodSeconds", None)
        return marked if call.dry_run else self.objects.put(resource, marked, old)

    def _grace(self, resource: Resource, document: Object, options: Object) -> int:
        """Only pods that run somewhere go slowly."""
        if resource.table != "pods" or not document["spec"].get("nodeName"):
            return 0
        if document.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            return 0
        asked = options.get("gracePeriodSeconds")
        usual: int = document["spec"].get("terminationGracePeriodSeconds", 30)
        if asked is None:
            return usual
        return 1 if asked < 0 else int(asked)

    def _check_preconditions(self, resource: Resource, metadata: Object, options: Object) -> None:
        wanted = options.get("preconditions") or {}
        name = metadata["name"]
        if wanted.get("uid") not in (None, metadata["uid"]):
            why = (
                f"the UID in the precondition ({wanted['uid']}) does not match the UID in record "
                f"({metadata['uid']}). The object might have been deleted and then recreated"
            )
        elif wanted.get("resourceVersion") not in (None, metadata["resourceVersion"]):
            why = (
                f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the "
                f"ResourceVersion in record ({metadata['resourceVersion']}). "
                "The object might have been modified"
            )
        else:
            return
        raise conflict(resource.kind, resource.group, name, why)


def _success(resource: Resource, metadata: Object) -> Object:
    details = {"name": metadata["name"], "kind": resource.plural, "uid": metadata["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def later(now: str, seconds: int) -> str:
    moment = datetime.fromisoformat(now) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
