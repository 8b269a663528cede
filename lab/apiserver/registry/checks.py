"""What a request's object must agree with: its kind, its URL, its schema."""

from __future__ import annotations

from typing import Any

from lab.apiserver.errors import (
    CUT_SHORT,
    ApiError,
    FieldError,
    bad_request,
    invalid,
    invalid_value,
    render,
)
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


def check_patched(resource: Resource, patched: Any) -> None:
    """Raises ApiError 422 if a patch made of an object what is none of the kind that is served here."""
    if not isinstance(patched, dict):
        raise unfit_patch(patched, "json: cannot unmarshal array into Go value of type map[string]any")
    kind, version = patched.get("kind"), patched.get("apiVersion")
    if not kind and resource.custom:
        raise unfit_patch(patched, f"Object 'Kind' is missing in '{render(patched)}'")
    if resource.custom and version == resource.api_version and kind != resource.kind:
        error = invalid_value("kind", kind, f"must be {resource.kind}")
        raise invalid(resource.kind, resource.group, _name_of(patched), [error])
    if (kind or resource.kind, version or resource.api_version) != (resource.kind, resource.api_version):
        wanted = f"({resource.api_version}, {resource.kind})"
        raise unfit_patch(patched, f"converting ({version}, {kind}) to {wanted}: unknown conversion")
    if patched.get("metadata") is None:
        patched["metadata"] = {}
    if not isinstance(patched["metadata"], dict):
        raise unfit_patch(patched, "json: cannot unmarshal metadata into Go struct field .metadata")


def unfit_patch(patched: Any, why: str) -> ApiError:
    """422: what a patch makes cannot be read as an object of the kind."""
    return invalid("", "", "", [invalid_value("patch", render(patched), why)])


def _name_of(document: Object) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def check_name(found: str, wanted: str) -> None:
    if not found:
        raise bad_request(
            f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )
    if found != wanted:
        raise bad_request(f"the name of the object ({found}) does not match the name on the URL ({wanted})")


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
