"""In which form a client wants its answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lab.apiserver.errors import not_acceptable

OFFERED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
JSON_TYPES = ("application/json", "application/*", "*/*")


@dataclass(frozen=True)
class View:
    """`as_kind` is Table, PartialObjectMetadata, APIGroupDiscoveryList, or nothing for plain objects."""

    as_kind: str = ""
    version: str = ""
    include: str = "Metadata"

    @property
    def plain(self) -> bool:
        return not self.as_kind

    @property
    def table(self) -> bool:
        return self.as_kind == "Table"


PLAIN = View()


@lru_cache(maxsize=256)
def view_of(accept: str) -> View:
    """The first form of an Accept header that this server has. Raises ApiError 406 if it has none."""
    if not accept:
        return PLAIN
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media.lower() not in JSON_TYPES:
            continue
        named = dict(part.partition("=")[::2] for part in parameters)
        kind = named.get("as", "")
        if kind and kind not in KINDS:
            continue
        if kind == "APIGroupDiscoveryList" and named.get("v") != "v2":
            continue
        return View(kind.removesuffix("List") if kind.startswith("Partial") else kind, named.get("v", ""))
    raise not_acceptable(OFFERED)


KINDS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList")
