"""Request bodies: JSON and YAML, with the errors that a Kubernetes server gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from . import protobuf
from .errors import bad_request, unsupported_media
from .resources import Resource
from .schema import Object

JSON_TYPE = "application/json"
YAML_TYPE = "application/yaml"
PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf"
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


def read_object(raw: bytes, content_type: str, kind: str, kinds: Mapping[str, Resource]) -> Object:
    """The object that a body states; `kinds` are those that have a binary form.

    Raises ApiError 400, or 415 for other media types.
    """
    media = media_type(content_type) or JSON_TYPE
    if media == PROTOBUF_TYPE and kinds:
        return _read_protobuf(raw, kinds)
    if media not in (JSON_TYPE, YAML_TYPE, "application/*", "*/*"):
        raise unsupported_media([JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE])
    document = read_yaml(raw) if media == YAML_TYPE else read_json(raw, kind)
    if not isinstance(document, dict):
        raise bad_request(_unrecognized(kind, raw, "the body is no object"))
    return document


def _read_protobuf(raw: bytes, kinds: Mapping[str, Resource]) -> Object:
    try:
        return protobuf.read(raw, kinds)
    except (protobuf.ProtobufError, UnicodeDecodeError) as error:
        raise bad_request(f"couldn't decode the body: {error}") from error


def read_json(raw: bytes, kind: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError as error:
        raise bad_request(_unrecognized(kind, raw, f"json parse error: {error}")) from error


def read_yaml(raw: bytes) -> Any:
    """A YAML or JSON document. Raises ApiError 400."""
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return yaml.load(raw, Loader)
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error


def _unrecognized(kind: str, raw: bytes, why: str) -> str:
    return (
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why} "
        f"({raw[:128].decode('utf-8', 'replace')})"
    )
