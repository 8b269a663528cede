"""Request bodies: JSON and YAML, with the errors that a Kubernetes server gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from lab.apiserver.content import protobuf
from lab.apiserver.content.negotiation import BINARY_TYPE, JSON_TYPE, YAML_TYPE
from lab.apiserver.errors import bad_request, unsupported_media
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.schema import Object

WIDEST = 2**31 - 1
TRUE = {"y", "yes", "true", "on"}
FALSE = {"n", "no", "false", "off"}


class Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: y and n are booleans, times are strings."""


def _construct_bool(loader: Loader, node: yaml.ScalarNode) -> bool:
    return node.value.lower() in TRUE


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(("timestamp", "bool"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?i:y|n|yes|no|true|false|on|off)\Z"), list("yYnNtTfFoO")
)
Loader.add_constructor("tag:yaml.org,2002:bool", _construct_bool)


def media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def read_object(
    raw: bytes, content_type: str, kind: str, kinds: Mapping[str, Resource]
) -> tuple[Object, list[str]]:
    """The object that a body states and the paths of fields that it states twice.

    `kinds` are those that may come in binary form. Raises ApiError 400, or 415 for other media types.
    """
    media = media_type(content_type) or JSON_TYPE
    if media == BINARY_TYPE and kinds:
        return _read_protobuf(raw, kinds), []
    if media not in (JSON_TYPE, YAML_TYPE, "application/*", "*/*"):
        raise unsupported_media([JSON_TYPE, YAML_TYPE, BINARY_TYPE])
    repeated: list[str] = []
    document = read_yaml(raw) if media == YAML_TYPE else _read_json_once(raw, kind, repeated)
    if not isinstance(document, dict):
        raise bad_request(_unrecognized(kind, raw, "the body is no object"))
    return document, repeated


def _read_protobuf(raw: bytes, kinds: Mapping[str, Resource]) -> Object:
    try:
        return protobuf.read(raw, kinds)
    except (protobuf.ProtobufError, UnicodeDecodeError) as error:
        raise bad_request(f"couldn't decode the body: {error}") from error


def read_json(raw: bytes, kind: str) -> Any:
    """Raises ApiError 400."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise bad_request(_unrecognized(kind, raw, f"json parse error: {error}")) from error


def _read_json_once(raw: bytes, kind: str, repeated: list[str]) -> Any:
    """Like `read_json`; the paths of fields stated twice go to `repeated`."""
    twice: list[tuple[Object, str]] = []

    def once(pairs: list[tuple[str, Any]]) -> Object:
        out = dict(pairs)
        if len(out) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend((out, name) for name in out if names.count(name) > 1)
        return out

    try:
        document = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise bad_request(_unrecognized(kind, raw, f"json parse error: {error}")) from error
    for holder, name in twice:
        repeated.append(f"{_path_to(document, holder)}.{name}".lstrip("."))
    return document


def _path_to(node: Any, wanted: Object) -> str | None:
    """Where an object stands in a document; empty for the document itself."""
    if node is wanted:
        return ""
    steps: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        steps = [(f".{key}", value) for key, value in node.items()]
    elif isinstance(node, list):
        steps = [(f"[{i}]", value) for i, value in enumerate(node)]
    for step, value in steps:
        below = _path_to(value, wanted)
        if below is not None:
            return step + below
    return None


def read_yaml(raw: bytes) -> Any:
    """A YAML or JSON document. Raises ApiError 400."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return _with_text_keys(yaml.load(raw, Loader))
    except (yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def _with_text_keys(node: Any) -> Any:
    """JSON has no keys but text: `on: 1` is `"true": 1`."""
    if isinstance(node, list):
        return [_with_text_keys(item) for item in node]
    if isinstance(node, dict):
        return {
            key if isinstance(key, str) else json.dumps(key): _with_text_keys(value)
            for key, value in node.items()
        }
    return node


def as_yaml(body: bytes) -> bytes:
    """A JSON document as YAML, its fields in alphabetical order."""
    text: str = yaml.dump(json.loads(body), Dumper=yaml.CSafeDumper, allow_unicode=True, width=WIDEST)
    return text.encode()


def _unrecognized(kind: str, raw: bytes, why: str) -> str:
    return (
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why} "
        f"({raw[:128].decode('utf-8', 'replace')})"
    )
