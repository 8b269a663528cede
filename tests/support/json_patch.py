"""An API server's side of a JSON patch."""

from __future__ import annotations

import copy


class TestFailed(Exception):
    """A `test` of a JSON patch did not hold; nothing was written."""

    __test__ = False


def apply_patch(value, patch):
    """RFC 6902 on a copy; an empty annotations map vanishes, as in Kubernetes."""
    out = copy.deepcopy(value)
    for op in patch:
        keys = [k.replace("~1", "/").replace("~0", "~") for k in op["path"].split("/")[1:]]
        at = out
        for key in keys[:-1]:
            at = at[int(key)] if isinstance(at, list) else at[key]
        last = int(keys[-1]) if isinstance(at, list) else keys[-1]
        match op["op"]:
            case "test":
                present = last < len(at) if isinstance(at, list) else last in at
                if not present or at[last] != op["value"]:
                    raise TestFailed(op["path"])
            case "remove":
                del at[last]
            case _:
                at[last] = copy.deepcopy(op["value"])
    if not out["metadata"].get("annotations", True):
        del out["metadata"]["annotations"]
    out["metadata"]["resourceVersion"] = str(int(out["metadata"]["resourceVersion"]) + 1)
    return out
