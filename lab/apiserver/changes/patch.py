"""JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch, on plain values."""

from __future__ import annotations

import re
from typing import Any

from lab.apiserver.types.schema import ANY, Object, Schema, clone

MOST_OPERATIONS = 10_000
INDEX = re.compile(r"[+-]?[0-9]+")


class PatchFailed(ValueError):
    """The patch does not apply to this value."""


class PatchMalformed(ValueError):
    """The patch is no patch."""


class MergeKeyMissing(ValueError):
    """An item of a strategic merge patch does not say which item of the list it is about."""


def json_patch(target: Any, operations: Any) -> Any:
    """A copy of the target with the operations done. Raises PatchFailed, PatchMalformed.

    As Kubernetes' library reads RFC 6902, which forgives: `replace` sets an absent key of an object, `add`
    without a value sets null, indices below zero count from the end, and what stands before the first slash
    of a path counts for nothing.
    """
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise PatchMalformed("a JSON patch is a list of operations")
    document = clone(target)
    for operation in operations:
        document = _operated(document, operation)
    return document


def _operated(document: Any, operation: Object) -> Any:
    """The document after an operation; it may be changed in place."""
    name, value = operation.get("op"), clone(operation.get("value"))
    if name not in ("add", "remove", "replace", "test", "move", "copy"):
        raise PatchFailed(f"Unexpected kind: {name}")
    if name in ("move", "copy"):
        holder, key = _located(document, _pointer(operation, "from"))
        value = _take(holder, key) if name == "move" else clone(_get(holder, key))
    pointer = _pointer(operation, "path")
    if pointer == "" and name == "replace":
        return value if isinstance(value, (dict, list)) else document
    holder, key = ({"": document}, "") if pointer == "" and name == "test" else _located(document, pointer)
    if name == "remove":
        _take(holder, key)
    elif name == "replace":
        _set(holder, key, value)
    elif name == "test":
        if not same(_get(holder, key), value):
            raise PatchFailed(f"testing value {pointer} failed")
    else:
        _add(holder, key, value)
    return document


def _pointer(operation: Object, name: str) -> str:
    pointer = operation.get(name)
    if pointer is None:
        raise PatchFailed(f"operation missing {name} field")
    if not isinstance(pointer, str):
        raise PatchMalformed(f"error decoding patch: {name} must be a string")
    return pointer


def _located(document: Any, pointer: str) -> tuple[Any, str]:
    """The object or list that a pointer leads into, and the key there."""
    _, *parts = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/"))
    if not parts:
        raise PatchFailed(f"doc is missing path: {pointer!r}")
    holder = document
    for part in parts[:-1]:
        holder = _get(holder, part)
        if not isinstance(holder, (dict, list)):
            raise PatchFailed(f"doc is missing path: {pointer!r}")
    return holder, parts[-1]


def _get(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, dict) else holder[_index(key, len(holder))]


def _set(holder: Any, key: str, value: Any) -> None:
    holder[key if isinstance(holder, dict) else _index(key, len(holder))] = value


def _add(holder: Any, key: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    else:
        holder.insert(len(holder) if key == "-" else _index(key, len(holder) + 1), value)


def _take(holder: Any, key: str) -> Any:
    if isinstance(holder, list):
        return holder.pop(_index(key, len(holder)))
    if key not in holder:
        raise PatchFailed(f"Unable to remove nonexistent key: {key}")
    return holder.pop(key)


def _index(key: str, length: int) -> int:
    if not INDEX.fullmatch(key):
        raise PatchFailed(f"{key!r} is no index")
    index = int(key) if int(key) >= 0 else int(key) + length
    if not 0 <= index < length:
        raise PatchFailed(f"Unable to access invalid index: {key}")
    return index


def same(one: Any, other: Any) -> bool:
    """Equal as JSON is written: neither true nor 1.0 is 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied; the inputs are not changed."""
    if not isinstance(patch, dict):
        return clone(patch)
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), value)
    return out


def strategic_merge_patch(schema: Schema, target: Any, patch: Any) -> Any:
    """The target with a strategic merge patch applied; the inputs are not changed.

    Raises MergeKeyMissing.
    """
    if not isinstance(patch, dict):
        return clone(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    rest = {key: value for key, value in patch.items() if not key.startswith("$")}
    if directive == "replace":
        return clone(rest)
    out = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        out = {key: value for key, value in out.items() if key in patch["$retainKeys"]}
    for key, value in rest.items():
        child = schema.child(key) or ANY
        if value is None:
            out.pop(key, None)
        elif isinstance(value, list):
            out[key] = _merge_list(child, out.get(key) or [], value, patch, key)
        else:
            out[key] = strategic_merge_patch(child, out.get(key), value)
    return _delete_scalars(out, patch)


def _merge_list(schema: Schema, target: list[Any], patch: list[Any], parent: Object, key: str) -> list[Any]:
    if "merge" not in schema.patch_strategies or any(_directive(item) == "replace" for item in patch):
        return [clone(item) for item in patch if _directive(item) != "replace"]
    order = parent.get(f"$setElementOrder/{key}")
    if schema.merge_key is None:
        merged = target + [item for item in patch if item not in target]
        return _ordered(merged, order, lambda item: item)
    name = schema.merge_key
    merged = [dict(item) for item in target]
    for item in patch:
        _merge_item(schema, merged, item, name)
    wanted = [entry.get(name) for entry in order] if order else None
    return _ordered(merged, wanted, lambda item: item.get(name))


def _merge_item(schema: Schema, merged: list[Any], item: Any, name: str) -> None:
    if not isinstance(item, dict) or name not in item:
        raise MergeKeyMissing(f"map: {_as_go(item)} does not contain declared merge key: {name}")
    indices = [i for i, other in enumerate(merged) if other.get(name) == item[name]]
    if _directive(item) == "delete":
        for index in reversed(indices):
            del merged[index]
    elif indices:
        merged[indices[0]] = strategic_merge_patch(schema.items or ANY, merged[indices[0]], item)
    else:
        merged.append(strategic_merge_patch(schema.items or ANY, {}, item))


def _as_go(value: Any) -> str:
    """A value as Go prints it in an error."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_as_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_as_go, value))}]"
    return str(value)


def _directive(item: Any) -> Any:
    return item.get("$patch") if isinstance(item, dict) else None


def _ordered(items: list[Any], order: list[Any] | None, key_of: Any) -> list[Any]:
    """Items that the order names come in its order; others keep their place relative to what is before."""
    if not order:
        return items
    rank = {_hashable(value): position for position, value in enumerate(order)}
    named = sorted(
        (item for item in items if _hashable(key_of(item)) in rank),
        key=lambda item: rank[_hashable(key_of(item))],
    )
    others = [item for item in items if _hashable(key_of(item)) not in rank]
    return named + others


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, (dict, list)) else value


def _delete_scalars(out: Object, patch: Object) -> Object:
    prefix = "$deleteFromPrimitiveList/"
    for key, values in patch.items():
        if key.startswith(prefix) and isinstance(out.get(key[len(prefix) :]), list):
            name = key[len(prefix) :]
            out[name] = [item for item in out[name] if item not in values]
    return out
