"""What an answer of the API server means: a decision, which stays, or an accident, which may pass.

| Asked               | Status                  | Means                                                      |
|---------------------|-------------------------|------------------------------------------------------------|
| anything            | 2xx                     | done                                                       |
| one object          | 404 that names it       | missing: this object is not there                          |
| a JSON patch        | 409, 422                | patch refused: a test failed, or the result is invalid     |
| an apply            | 409 that names a field  | patch refused: the field is somebody else's                |
| an apply            | 422                     | patch refused: the result is invalid                       |
| anything else       | 404, 409                | may pass: handlers are not installed yet, others write too |
| anything            | 401, 403, 410, 429, ... | may pass: tokens expire, informers and storage start       |
| an apply            | 500 that names a type   | invalid: its fields are not of their types                 |
| anything            | 4xx of admission        | may pass, as a 403 may: webhooks and policies choose codes |
| anything            | 3xx, 5xx                | may pass: somebody else answers, or nobody can             |
| anything            | 400, 422, other 4xx     | invalid: it will never be accepted as it is                |

A 403 may also be a right that is really missing: nobody can tell at once, so it is said when it lasts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_PASSING = frozenset({401, 403, 404, 408, 409, 410, 421, 425, 429})
_DENIED = re.compile(
    r"^admission webhook \".*?\" denied the request|ValidatingAdmissionPolicy '.*?' .*denied request"
)
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')
_VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class Meaning(StrEnum):
    """What came of a request; only MAY_PASS is worth another try."""

    DONE = "done"
    MISSING = "missing"
    INVALID = "invalid"
    PATCH_REFUSED = "patch refused"
    MAY_PASS = "may pass"


def meaning(method: str, path: str, status: int, body: Any, *, applies: bool = False) -> Meaning:
    """What `status` and `body` (JSON, or None) say to `method path`; `applies`: a server-side apply."""
    match status:
        case _ if 200 <= status < 300:
            return Meaning.DONE
        case 404 if _says_missing(path, body):
            return Meaning.MISSING
        case _ if is_denied(body):
            return Meaning.MAY_PASS
        case 409 if method == "PATCH" and (not applies or field_owners(body)):
            return Meaning.PATCH_REFUSED
        case 422 if method == "PATCH":
            return Meaning.PATCH_REFUSED
        case 500 if applies and _is_of_another_shape(body):
            return Meaning.INVALID
        case _ if status < 400 or status >= 500 or status in _PASSING:
            return Meaning.MAY_PASS
        case _:
            return Meaning.INVALID


def is_denied(body: Any) -> bool:
    """Whether an admission webhook or policy denies a request, with whatever status: 400 if it names none."""
    words = body.get("message") if isinstance(body, Mapping) else None
    return isinstance(words, str) and _DENIED.search(words) is not None


def field_owners(body: Any) -> frozenset[str]:
    """Who owns the fields for which an apply was refused; empty when it was refused for anything else."""
    details = body.get("details") if isinstance(body, Mapping) else None
    causes = details.get("causes") if isinstance(details, Mapping) else None
    if not isinstance(causes, list):
        return frozenset()
    conflicts = [
        str(cause.get("message"))
        for cause in causes
        if isinstance(cause, Mapping) and cause.get("reason") == "FieldManagerConflict"
    ]
    return frozenset(_quoted(message) for message in conflicts)


@dataclass(frozen=True, slots=True)
class Resource:
    """What a path of the API server names; a list has no `name`, a discovery document no `resource`."""

    group: str
    namespace: str
    resource: str
    name: str

    @classmethod
    def of_path(cls, path: str) -> Resource:
        parts = path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else ("".join(parts[1:2]), parts[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        return cls(group, namespace, "".join(rest[:1]), "".join(rest[1:2]))


def right_to(method: str, path: str) -> str:
    """The right that a request needs, in RBAC's words: `patch deployments.apps in namespace default`."""
    asked = Resource.of_path(path)
    verb = _VERBS.get(method, "get" if asked.name or not asked.resource else "list")
    what = f"{asked.resource}.{asked.group}".strip(".") if asked.resource else path
    where = f"namespace {asked.namespace}" if asked.namespace else "the whole cluster"
    return f"{verb} {what} in {where}"


def _says_missing(path: str, body: Any) -> bool:
    """Whether the API server itself says that the very object of `path` is not there."""
    if not isinstance(body, Mapping) or body.get("reason") != "NotFound":
        return False
    details, name = body.get("details"), Resource.of_path(path).name
    return bool(name) and isinstance(details, Mapping) and details.get("name") == name


def _is_of_another_shape(body: Any) -> bool:
    """Whether an applied object does not fit its schema, which the API server calls an error of its own."""
    words = body.get("message") if isinstance(body, Mapping) else None
    return isinstance(words, str) and words.startswith("failed to create typed patch object")


def _quoted(message: str) -> str:
    """The manager in `conflict with "manager" with subresource "scale" using v1`."""
    found = _MANAGER.match(message)
    return found[1] if found else message
