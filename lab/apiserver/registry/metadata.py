"""Names, labels and the other rules of `metadata`."""

from __future__ import annotations

import random
import re
from typing import Any

from lab.apiserver.errors import FieldError, forbidden_field, invalid_value, required
from lab.apiserver.types.schema import Object

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = f"({QUALIFIED})?"
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
MOST_ANNOTATION_BYTES = 256 * 1024
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
RULES: dict[str, tuple[str, int, str]] = {
    "subdomain": (
        SUBDOMAIN,
        253,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
        rf"validation is '{SUBDOMAIN}')",
    ),
    "label": (
        LABEL,
        63,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        f"validation is '{LABEL}')",
    ),
    "label1035": (
        LABEL_1035,
        63,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
        f"regex used for validation is '{LABEL_1035}')",
    ),
}
QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{QUALIFIED}')"
)
VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex "
    f"used for validation is '{LABEL_VALUE}')"
)
IMMUTABLE = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def generated_name(base: str) -> str:
    """A name that begins with `base`; who runs into a taken one may ask again."""
    return base[:58] + "".join(random.choices(SUFFIX_LETTERS, k=5))


def name_errors(rule: str, name: str, path: str) -> list[FieldError]:
    if rule == "path":
        bad = name in (".", "..") or "/" in name or "%" in name
        return [invalid_value(path, name, "may not be '.' or '..' or contain '/' or '%'")] if bad else []
    pattern, longest, text = RULES[rule]
    errors = []
    if len(name) > longest:
        errors.append(invalid_value(path, name, f"must be no more than {longest} bytes"))
    if not re.fullmatch(pattern, name):
        errors.append(invalid_value(path, name, text))
    return errors


def creation_errors(metadata: Object, rule: str) -> list[FieldError]:
    """What is wrong with the metadata of a new object, whichever kind it is of."""
    name = metadata.get("name", "")
    errors: list[FieldError] = []
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        errors += name_errors(rule, name, "metadata.name")
    errors += _common_errors(metadata)
    for finalizer in metadata.get("finalizers") or []:
        errors += qualified_name_errors(finalizer, "metadata.finalizers")
    return errors


def finalizer_errors(metadata: Object) -> list[FieldError]:
    """Objects of built-in kinds have Kubernetes' own finalizers, or such as name their domain."""
    text = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid_value(f"metadata.finalizers[{i}]", finalizer, text)
        for i, finalizer in enumerate(metadata.get("finalizers") or [])
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS
    ]


def update_errors(new: Object, old: Object) -> list[FieldError]:
    """What is wrong with the metadata of an update."""
    return [*_immutable_errors(new, old), *_common_errors(new)]


def _common_errors(metadata: Object) -> list[FieldError]:
    return [
        *label_errors(metadata.get("labels") or {}, "metadata.labels"),
        *_annotation_errors(metadata.get("annotations") or {}),
        *_owner_errors(metadata.get("ownerReferences") or []),
    ]


def label_errors(labels: dict[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in labels.items():
        errors += qualified_name_errors(key, path)
        if len(value) > 63:
            errors.append(invalid_value(path, value, "must be no more than 63 bytes"))
        if not re.fullmatch(LABEL_VALUE, value):
            errors.append(invalid_value(path, value, VALUE_RULE))
    return errors


def qualified_name_errors(name: str, path: str) -> list[FieldError]:
    prefix, slash, local = name.rpartition("/")
    errors: list[FieldError] = []
    if slash and not (re.fullmatch(SUBDOMAIN, prefix) and len(prefix) <= 253):
        errors.append(invalid_value(path, name, f"prefix part {RULES['subdomain'][2]}"))
    if len(local) > 63:
        errors.append(invalid_value(path, name, "name part must be no more than 63 bytes"))
    if not re.fullmatch(QUALIFIED, local):
        errors.append(invalid_value(path, name, QUALIFIED_RULE))
    return errors


def _annotation_errors(annotations: dict[str, str]) -> list[FieldError]:
    path = "metadata.annotations"
    errors: list[FieldError] = []
    for key in annotations:
        errors += qualified_name_errors(key.lower(), path)
    size = sum(len(key) + len(value) for key, value in annotations.items())
    if size > MOST_ANNOTATION_BYTES:
        detail = f"may not be more than {MOST_ANNOTATION_BYTES} bytes"
        errors.append(FieldError("FieldValueTooLong", path, detail))
    return errors


def _owner_errors(owners: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    for owner in owners:
        for key, text in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not owner.get(key):
                path = "metadata.ownerReferences." + ("apiVersion" if key == "apiVersion" else key)
                errors.append(invalid_value(path, owner.get(key, ""), text))
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true"
        errors.append(invalid_value("metadata.ownerReferences", owners, text))
    return errors


def _immutable_errors(new: Object, old: Object) -> list[FieldError]:
    errors = [
        invalid_value(f"metadata.{key}", new.get(key), "field is immutable")
        for key in IMMUTABLE
        if _plain(new.get(key)) != _plain(old.get(key))
    ]
    added = sorted(set(new.get("finalizers") or []) - set(old.get("finalizers") or []))
    if added and old.get("deletionTimestamp"):
        listed = ", ".join(f'"{item}"' for item in added)
        text = (
            "no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{listed}}}"
        )
        errors.append(forbidden_field("metadata.finalizers", text))
    return errors


def _plain(value: Any) -> Any:
    return value if value else None
