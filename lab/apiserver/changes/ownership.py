"""Who owns which field: `metadata.managedFields` through updates and server-side apply."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lab.apiserver.changes.fields import (
    EMPTY,
    FieldSet,
    Path,
    TypeMismatch,
    compare,
    fields_of,
    from_fields_v1,
    printed,
    to_fields_v1,
    with_named_parents,
)
from lab.apiserver.changes.merge import merge, remove
from lab.apiserver.errors import ApiError, bad_request
from lab.apiserver.types.schema import Object, Schema

MOST_UPDATERS = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
UNOWNED_METADATA = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
)
NOT_OWNED: FieldSet = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",)}) | frozenset(
    ("f:metadata", f"f:{name}") for name in UNOWNED_METADATA
)


@dataclass(frozen=True)
class Manager:
    """One entry of managedFields, less its time and fields."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def printed(self) -> str:
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            text += f" using {self.api_version}"
        return text


@dataclass
class Managers:
    """All entries of an object's managedFields."""

    fields: dict[Manager, FieldSet] = field(default_factory=dict)
    times: dict[Manager, str] = field(default_factory=dict)

    @classmethod
    def read(cls, entries: Iterable[Object]) -> Managers:
        out = cls()
        for entry in entries:
            manager = Manager(
                entry.get("manager", ""),
                entry["operation"],
                entry.get("apiVersion", ""),
                entry.get("subresource", ""),
            )
            fields = from_fields_v1(entry.get("fieldsV1") or {})
            out.fields[manager] = out.fields.get(manager, EMPTY) | fields
            out.times[manager] = max(entry.get("time") or "", out.times.get(manager, ""))
        return out

    def write(self) -> list[Object]:
        self._forget_oldest()
        order = sorted(
            (manager for manager, fields in self.fields.items() if fields),
            key=lambda m: (m.operation, self.times.get(m, ""), m.name, m.api_version, m.subresource),
        )
        return [self._entry(manager) for manager in order]

    def _entry(self, manager: Manager) -> Object:
        entry: Object = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
        }
        if self.times.get(manager):
            entry["time"] = self.times[manager]
        entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(self.fields[manager])}
        if manager.subresource:
            entry["subresource"] = manager.subresource
        return entry

    def _forget_oldest(self) -> None:
        updaters = [m for m, fields in self.fields.items() if m.operation == "Update" and fields]
        updaters.sort(key=lambda m: self.times.get(m, ""))
        for manager in updaters[: max(0, len(updaters) - MOST_UPDATERS)]:
            ancient = Manager(ANCIENT, "Update", manager.api_version)
            self.fields[ancient] = self.fields.get(ancient, EMPTY) | self.fields.pop(manager)
            self.times[ancient] = self.times[manager]

    def take(self, owner: Manager | None, gone: FieldSet) -> None:
        """Takes fields from every manager but one."""
        for manager in self.fields:
            if manager != owner:
                self.fields[manager] -= gone


def of_object(live: Object | None, new: Object, subresource: str) -> Managers:
    """The entries to start from: a client may rewrite or reset them, but not through a subresource."""
    known = (live or {}).get("metadata", {}).get("managedFields", [])
    asked = new.get("metadata", {}).get("managedFields")
    if asked == [{}] and not subresource:
        return Managers()
    if asked and not subresource:
        try:
            return Managers.read(asked)
        except (KeyError, AttributeError, TypeError):
            return Managers.read(known)
    return Managers.read(known)


def after_update(
    schema: Schema, live: Object, new: Object, managers: Managers, owner: Manager, ignored: FieldSet, now: str
) -> list[Object]:
    """managedFields after a write that is no apply: who changed a field owns it, alone.

    An object without any stays without them until it is applied for the first time.
    """
    if not managers.fields and live.get("metadata", {}).get("uid"):
        return []
    difference = compare(schema, live, new)
    ours = _without(difference.added | difference.modified, ignored)
    lost = _without(difference.removed, ignored)
    managers.take(None, ours | lost)
    if ours:
        managers.fields[owner] = managers.fields.get(owner, EMPTY) | ours
        managers.times[owner] = now
    return managers.write()


@dataclass(frozen=True)
class Applied:
    """What an apply makes of an object. `changed` tells whether owners or fields changed at all."""

    object: Object
    managers: Managers
    changed: bool


@dataclass(frozen=True)
class Application:
    """One server-side apply: `described` names the object in errors, `ignored` are fields that this
    endpoint does not set, `yielded` are those that other managers leave to this one without force. `empty`
    is what an object of the kind is before anything is set."""

    owner: Manager
    config: Object
    empty: Object
    now: str
    ignored: FieldSet = EMPTY
    yielded: FieldSet = EMPTY
    force: bool = False
    described: str = ""


def apply(schema: Schema, live: Object, application: Application) -> Applied:
    """Server-side apply. Raises ApiError: 409 with every conflict, 500 for what no schema knows."""
    config, owner, ignored = application.config, application.owner, application.ignored
    if config.get("metadata", {}).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    metadata = live.get("metadata", {})
    managers = Managers.read(metadata.get("managedFields", []))
    before = dict(managers.fields)
    if not before and metadata.get("uid"):
        managers = _before_first_apply(schema, live, application)
    try:
        stated = fields_of(schema, config)
        merged = merge(schema, live, config)
    except TypeMismatch as error:
        text = f"failed to create typed patch object ({application.described}): {error}"
        raise ApiError(500, "", text) from error
    last = managers.fields.get(owner, EMPTY)
    managers.fields[owner] = _without(stated, ignored)
    merged = _drop_released(schema, merged, last, stated.union(*managers.fields.values()))
    difference = compare(schema, live, merged)
    touched = _without(difference.added | difference.modified, ignored)
    _settle_conflicts(managers, application, touched)
    managers.take(None, difference.removed)
    left = {manager: fields for manager, fields in managers.fields.items() if fields}
    return Applied(merged, managers, changed=left != before or bool(touched or difference.removed))


def _before_first_apply(schema: Schema, live: Object, application: Application) -> Managers:
    """Whoever made an object that nobody's fields are known of owns all of it."""
    owner = replace(application.owner, name=BEFORE_FIRST_APPLY, operation="Update")
    entries = after_update(
        schema, application.empty, live, Managers(), owner, application.ignored, application.now
    )
    return Managers.read(entries)


def _drop_released(schema: Schema, merged: Object, last: FieldSet, owned: FieldSet) -> Object:
    """Takes out what the manager applied before and nobody asks for any more."""
    if not last:
        return merged
    released = with_named_parents(schema, last) - with_named_parents(schema, owned)
    out: Object = remove(schema, merged, released) or {}
    return out


def _settle_conflicts(managers: Managers, application: Application, touched: FieldSet) -> None:
    conflicts = {
        manager: fields & touched
        for manager, fields in managers.fields.items()
        if manager != application.owner and fields & touched
    }
    refused = {manager: fields - application.yielded for manager, fields in conflicts.items()}
    if any(refused.values()) and not application.force:
        raise _conflict_error(refused)
    for manager, fields in conflicts.items():
        managers.fields[manager] -= fields


def _conflict_error(conflicts: dict[Manager, FieldSet]) -> ApiError:
    pairs: list[tuple[str, Path]] = sorted(
        (manager.printed(), path) for manager, fields in conflicts.items() for path in fields
    )
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": printed(path)}
        for who, path in pairs
    ]
    if len(pairs) == 1:
        text = f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {printed(pairs[0][1])}"
    else:
        lines: list[str] = []
        for who in dict.fromkeys(who for who, _ in pairs):
            lines.append(f"conflicts with {who}:")
            lines += [f"- {printed(path)}" for other, path in pairs if other == who]
        text = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, {"causes": causes})


def _without(fields: FieldSet, ignored: FieldSet) -> FieldSet:
    """Less the fields that nobody owns, and less what is ignored with all below it."""
    return frozenset(
        path for path in fields - NOT_OWNED if not any(path[: len(prefix)] == prefix for prefix in ignored)
    )
