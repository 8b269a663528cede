"""JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch, on plain values."""

from __future__ import annotations

from typing import Any

from lab.apiserver.types.schema import ANY, Object, Schema, clone

MOST_OPERATIONS = 10_000


class PatchFailed(ValueError):
    """The patch does not apply to this value."""


class PatchMalformed(ValueError):
    """The patch is no patch."""


def json_patch(target: Any, operations: Any) -> Any:
    """A copy of the target with the operations done. Raises PatchFailed, PatchMalformed."""
    if not isinstance(operations, list) or not all(isinstance(item, dict) for item in operations):
        raise PatchMalformed("a JSON patch is a list of operations")
    holder = {"": clone(target)}
    for operation in operations:
        _operate(holder, operation)
    return holder[""]


def _operate(holder: Object, operation: Object) -> None:
    name, pointer = operation.get("op"), operation.get("path")
    if not isinstance(pointer, str):
        raise PatchMalformed("an operation lacks its path")
    path = _parse(pointer)
    if name in ("add", "replace", "test") and "value" not in operation and name != "test":
        raise PatchMalformed(f"{name} lacks its value")
    if name == "add":
        _add(holder, path, clone(operation["value"]))
    elif name == "remove":
        _take(holder, path)
    elif name == "replace":
        _replace(holder, path, clone(operation["value"]))
    elif name == "test":
        _test(holder, path, operation.get("value"))
    elif name in ("move", "copy"):
        source = _parse(str(operation.get("from", "")))
        value = _take(holder, source) if name == "move" else clone(_find(holder, source))
        _add(holder, path, value)
    else:
        raise PatchMalformed(f"unknown operation {name!r}")


def _parse(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise PatchMalformed(f"{pointer!r} is no path")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _find(holder: Any, path: list[str]) -> Any:
    node = holder
    for part in path:
        node = _step(node, part)
    return node


def _step(node: Any, part: str) -> Any:
    if isinstance(node, dict):
        if part not in node:
            raise PatchFailed(f"no {part!r} there")
        return node[part]
    if isinstance(node, list):
        return node[_index(node, part, len(node) - 1)]
    raise PatchFailed(f"no {part!r} there")


def _index(node: list[Any], part: str, last: int) -> int:
    try:
        index = int(part)
    except ValueError as error:
        raise PatchFailed(f"{part!r} is no index") from error
    index = index if index >= 0 else index + len(node)
    if not 0 <= index <= last:
        raise PatchFailed(f"index {part} is out of range")
    return index


def _add(holder: Any, path: list[str], value: Any) -> None:
    parent, last = _find(holder, path[:-1]), path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == "-" else _index(parent, last, len(parent))
        parent.insert(index, value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise PatchFailed(f"nothing can be added under {'/'.join(path[:-1])}")


def _take(holder: Any, path: list[str]) -> Any:
    value = _find(holder, path)
    parent = _find(holder, path[:-1])
    del parent[path[-1] if isinstance(parent, dict) else _index(parent, path[-1], len(parent) - 1)]
    return value


def _replace(holder: Any, path: list[str], value: Any) -> None:
    _find(holder, path)
    parent = _find(holder, path[:-1])
    parent[path[-1] if isinstance(parent, dict) else _index(parent, path[-1], len(parent) - 1)] = value


def _test(holder: Any, path: list[str], wanted: Any) -> None:
    try:
        value = _find(holder, path)
    except PatchFailed:
        if wanted is None:
            return
        raise
    if not same(value, wanted):
        raise PatchFailed(f"testing value {'/'.join(path)} failed")


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
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
    """The target with a strategic merge patch applied; the inputs are not changed. Raises PatchFailed."""
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
        raise PatchFailed(f"map: {item} does not contain declared merge key: {name}")
    indices = [i for i, other in enumerate(merged) if other.get(name) == item[name]]
    if _directive(item) == "delete":
        for index in reversed(indices):
            del merged[index]
    elif indices:
        merged[indices[0]] = strategic_merge_patch(schema.items or ANY, merged[indices[0]], item)
    else:
        merged.append(strategic_merge_patch(schema.items or ANY, {}, item))


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
