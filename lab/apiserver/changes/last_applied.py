"""The annotation of `kubectl apply`, for objects that move from client-side to server-side apply."""

from __future__ import annotations

import json
from typing import Any

from lab.apiserver.changes.fields import EMPTY, FieldSet, TypeMismatch, compare, fields_of
from lab.apiserver.types.schema import Object, Schema

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"


def own_fields(schema: Schema, live: Object) -> FieldSet:
    """What kubectl set on its own side and nobody changed since: it may take these over without force."""
    text = (live.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    if not text:
        return EMPTY
    try:
        applied: Any = json.loads(text)
        if not isinstance(applied, dict) or applied.get("apiVersion") != live.get("apiVersion"):
            return EMPTY
        fields = fields_of(schema, applied)
    except (ValueError, TypeMismatch):
        return EMPTY
    difference = compare(schema, applied, live)
    return fields - difference.modified - difference.added - difference.removed


def renew(config: Object, new: Object) -> None:
    """Keeps the annotation, where there is one, at what was applied last, in place."""
    annotations = new["metadata"].get("annotations") or {}
    if ANNOTATION not in annotations:
        return
    metadata = dict(config["metadata"])
    if "annotations" in metadata:
        notes = metadata["annotations"] or {}
        metadata["annotations"] = {key: value for key, value in notes.items() if key != ANNOTATION}
    kept = {**config, "metadata": metadata}
    annotations[ANNOTATION] = json.dumps(kept, separators=(",", ":"), sort_keys=True) + "\n"
