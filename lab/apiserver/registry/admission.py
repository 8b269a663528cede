"""Reading a client's object: its fields known, its defaults filled, its strangers named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.apiserver.errors import bad_request
from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry import defaults
from lab.apiserver.types.decode import DecodeError, decode, fill_defaults, fill_static_defaults, prune
from lab.apiserver.types.schema import Object, clone

ENVELOPE = frozenset({"apiVersion", "kind", "metadata"})


@dataclass
class Call:
    """What a request says beside its object. `now` is RFC 3339; warnings go into the answer's headers.

    `repeated` are fields that the object states twice. `may_create` raises ApiError 403 where an update
    that turns out to be a creation is not allowed.
    """

    manager: str
    now: str
    dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    warnings: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    may_create: Callable[[], None] = lambda: None


def read(resource: Resource, document: Object, call: Call) -> Object:
    """The object in its served form with all defaults. Raises ApiError 400 for what does not fit."""
    try:
        out, unknown = parse(resource, document)
    except DecodeError as error:
        raise bad_request(f"{_cannot_handle(resource)}: {error}") from error
    report_unknown(resource, unknown, call)
    return out


def parse(resource: Resource, document: Object) -> tuple[Object, list[str]]:
    """The object with its defaults, and the names of fields it should not have. Raises DecodeError."""
    unknown: list[str] = []
    if resource.custom:
        metadata = decode(
            types_parser().ref("ObjectMeta"), document.get("metadata") or {}, "metadata", unknown
        )
        out = {**clone(document), "metadata": metadata}
        prune(resource.schema, out, "", unknown, keep=ENVELOPE)
        out = _with_defaults(resource, out)
    else:
        out = decode(resource.schema, document, "", unknown)
        fill_static_defaults(resource.schema, out)
        defaults.fill(resource.kind, out)
    head = {"kind": resource.kind, "apiVersion": resource.api_version}
    return {**head, **{key: value for key, value in out.items() if key not in head}}, unknown


def _with_defaults(resource: Resource, document: Object) -> Object:
    rest = {key: value for key, value in document.items() if key not in ENVELOPE}
    fill_defaults(resource.schema, rest)
    return {**{key: value for key, value in document.items() if key in ENVELOPE}, **rest}


def report_unknown(resource: Resource, unknown: list[str], call: Call) -> None:
    texts = [f'duplicate field "{name}"' for name in call.repeated]
    texts += [f'unknown field "{name}"' for name in unknown]
    if not texts or call.validation == "Ignore":
        return
    if call.validation == "Strict":
        raise bad_request(f"{_cannot_handle(resource)}: strict decoding error: {', '.join(texts)}")
    call.warnings += texts


def _cannot_handle(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
