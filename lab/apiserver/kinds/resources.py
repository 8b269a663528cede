"""What the server serves: every kind, where it is found, what it looks like and which rules it follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.apiserver.kinds.builtin import object_document, read_kinds, types_parser
from lab.apiserver.types.schema import Object, Schema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, eq=False)
class Resource:
    """A kind as one group and version serve it."""

    group: str
    version: str
    plural: str
    kind: str
    schema: Schema
    singular: str = ""
    list_kind: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    custom: bool = False
    has_status: bool = False
    scale: Object | None = None
    subresources: tuple[str, ...] = ()
    counts_generations: bool = False
    conditional: bool = False
    upsert: bool = False
    returns_deleted: bool = False
    name_rule: str = "subdomain"
    selectable: tuple[str, ...] = ()
    columns: tuple[Object, ...] = ()
    table: str = ""
    warning: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def is_review(self) -> bool:
        return self.verbs == ("create",)

    def head(self) -> bytes:
        """How the JSON of each object begins."""
        if self.custom:
            return f'{{"apiVersion":"{self.api_version}","kind":"{self.kind}",'.encode()
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}
SUBRESOURCES = {
    "pods": ("eviction", "binding", "proxy", "log"),
    "namespaces": ("finalize",),
    "serviceaccounts": ("token",),
}


@dataclass
class Catalog:
    """All served resources, by where they are served; `revision` grows as they come and go."""

    by_path: dict[tuple[str, str, str], Resource] = field(default_factory=dict)
    embedded: dict[str, Resource] = field(default_factory=dict)
    revision: int = 0

    def add(self, resource: Resource) -> None:
        self.by_path[resource.group, resource.version, resource.plural] = resource
        self.revision += 1

    def remove(self, group: str, plural: str) -> None:
        for key in [key for key in self.by_path if key[0] == group and key[2] == plural]:
            del self.by_path[key]
        self.revision += 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self.by_path.get((group, version, plural))

    def of_group(self, group: str, version: str) -> list[Resource]:
        return [r for (g, v, _), r in self.by_path.items() if (g, v) == (group, version)]

    def groups(self) -> dict[str, list[str]]:
        """Versions of each group, the preferred one first."""
        by_group: dict[str, list[str]] = {}
        for group, version, _ in self.by_path:
            versions = by_group.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return {group: sorted(versions, key=version_rank) for group, versions in by_group.items()}

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self.by_path.values()))


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sorts v2 before v1 before v1beta2 before v1alpha1."""
    stem, _, rest = version[1:].partition("beta")
    if rest and stem.isdigit():
        return (1, -int(stem), -_number(rest), "")
    stem, _, rest = version[1:].partition("alpha")
    if rest and stem.isdigit():
        return (2, -int(stem), -_number(rest), "")
    if version[:1] == "v" and version[1:].isdigit():
        return (0, -int(version[1:]), 0, "")
    return (3, 0, 0, version)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def builtin_catalog() -> Catalog:
    catalog = Catalog()
    for kind in read_kinds():
        resource = _builtin(kind)
        if kind.get("embedded"):
            catalog.embedded[resource.kind] = resource
        else:
            catalog.add(resource)
    return catalog


def builtin_document(kind: Object) -> Object:
    """The OpenAPI document of a built-in kind."""
    document = object_document(kind["fields"])
    document["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": "ObjectMeta", "x-lab-zero": {}},
        **document["properties"],
    }
    return document


def _builtin(kind: Object) -> Resource:
    group, plural = kind.get("group", ""), kind["plural"]
    return Resource(
        group=group,
        version="v1",
        plural=plural,
        kind=kind["kind"],
        schema=types_parser().parse(builtin_document(kind)),
        singular=kind["kind"].lower(),
        list_kind=f"{kind['kind']}List",
        namespaced=not kind.get("cluster"),
        short_names=tuple(kind.get("short", ())),
        categories=tuple(kind.get("categories", ())),
        verbs=("create",) if kind.get("review") else ALL_VERBS,
        has_status=kind.get("status", False),
        scale=SCALE if kind.get("scale") else None,
        subresources=SUBRESOURCES.get(plural, ()),
        counts_generations=kind.get("generation", False),
        conditional=kind.get("conditional", False),
        upsert=kind.get("upsert", False),
        returns_deleted=kind.get("returns", False),
        name_rule=kind.get("name", "subdomain"),
        selectable=tuple(kind.get("selectable", ())),
        table="events" if kind["kind"] == "Event" else f"{plural}.{group}" if group else plural,
    )
