"""What a request's object must agree with: its kind, its URL, its schema."""

from __future__ import annotations

from typing import Any

from lab.apiserver.errors import CUT_SHORT, FieldError, bad_request
from lab.apiserver.kinds import cel
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object
from lab.apiserver.types.validation import BLOCKING, validate

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def custom_errors(resource: Resource, new: Object, old: Object | None) -> list[FieldError]:
    """Schema errors, then rule errors; what an update leaves as it was is not held against it."""
    body = {key: value for key, value in new.items() if key not in ("apiVersion", "kind", "metadata")}
    errors = validate(resource.schema, body)
    before: Any = cel.MISSING
    if old is not None:
        before = {key: value for key, value in old.items() if key not in ("apiVersion", "kind", "metadata")}
        errors = [error for error in errors if not _unchanged(error.path, body, before)]
    if any(error.type in BLOCKING for error in errors):
        if resource.schema.has_rules:
            errors.append(FieldError("FieldValueInvalid", "<nil>", CUT_SHORT, None))
        return errors
    return errors + cel.check(resource.schema, body, before)


def _unchanged(path: str, new: Any, old: Any) -> bool:
    """Whether the value at an error's path is what it was. Items of lists are told apart by place only."""
    for part in path.replace("[", ".[").split("."):
        key: Any = int(part[1:-1]) if part.startswith("[") and part[1:-1].isdigit() else part
        try:
            new, old = new[key], old[key]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(new == old)


def check_kind(resource: Resource, document: Object) -> None:
    """Raises ApiError 400 if the object is not of the kind that is served here."""
    kind, version = document.get("kind"), document.get("apiVersion")
    if not kind and not resource.custom:
        return
    if not kind or not version:
        raise bad_request(
            f"Object 'Kind' is missing in '{document}'" if not kind else "apiVersion is missing"
        )
    if (kind, version) == (resource.kind, resource.api_version):
        return
    if kind != resource.kind:
        group_version = version.replace("/", ".")
        raise bad_request(
            f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {resource.kind}: '
            f"converting ({group_version}.{kind}) to ({resource.group or 'core'}.{resource.kind}): "
            "unknown conversion"
        )
    raise bad_request(
        f"the API version in the data ({version}) does not match the expected API version "
        f"({resource.api_version})"
    )


def check_name(found: str, wanted: str) -> None:
    if found != wanted:
        raise bad_request(
            f"the name of the object ({found}) does not match the name on the URL ({wanted})"
            if found
            else "the name of the object () does not match the name on the URL (" + wanted + ")"
        )


def check_namespace(resource: Resource, metadata: Object, namespace: str) -> None:
    own = metadata.get("namespace") or ""
    if not resource.namespaced:
        metadata.pop("namespace", None)
    elif own and own != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    else:
        metadata["namespace"] = namespace
