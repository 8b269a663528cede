"""In which form a client wants its answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lab.apiserver.errors import not_acceptable

JSON_TYPE, YAML_TYPE = "application/json", "application/yaml"
BINARY_TYPE = "application/vnd.kubernetes.protobuf"
OFFERED = (JSON_TYPE, YAML_TYPE, BINARY_TYPE)
FORMS = {
    ("Table", "meta.k8s.io", "v1"),
    ("PartialObjectMetadata", "meta.k8s.io", "v1"),
    ("PartialObjectMetadataList", "meta.k8s.io", "v1"),
    ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2"),
}
"""Kinds, with group and version, that may be asked for in place of the object's own."""


@dataclass(frozen=True)
class View:
    """`as_kind` is Table, PartialObjectMetadata, APIGroupDiscoveryList, or nothing for plain objects."""

    as_kind: str = ""
    yaml: bool = False
    binary: bool = False

    @property
    def plain(self) -> bool:
        return not self.as_kind and not self.binary

    @property
    def table(self) -> bool:
        return self.as_kind == "Table"


@lru_cache(maxsize=256)
def view_of(accept: str, custom: bool = True, writable: bool = False) -> View:
    """The form of an Accept header that this server has and the client likes best.

    `application/*` counts for custom kinds alone. Only who takes nothing else gets the binary form, and only
    of what is `writable` in it. Raises ApiError 406 where the server has none of the forms.
    """
    if not accept:
        return View()
    known = {JSON_TYPE: False, YAML_TYPE: True, "*/*": False}
    if custom:
        known["application/*"] = False
    clauses = sorted(map(_parsed, accept.split(",")), key=_disliked)
    for media, parameters in clauses:
        form = tuple(parameters.get(name, "") for name in ("as", "g", "v"))
        if media in known and (not form[0] or form in FORMS):
            kind = form[0].removesuffix("List") if form[0].startswith("Partial") else form[0]
            return View(kind, known[media])
    if writable and any(media == BINARY_TYPE and "as" not in named for media, named in clauses):
        return View(binary=True)
    raise not_acceptable(OFFERED)


def _parsed(clause: str) -> tuple[str, dict[str, str]]:
    media, *parameters = (part.strip() for part in clause.split(";"))
    return media.lower(), dict(part.partition("=")[::2] for part in parameters)


def _disliked(clause: tuple[str, dict[str, str]]) -> float:
    """The less, the better; clauses liked equally keep their order."""
    try:
        return -float(clause[1].get("q", 1))
    except ValueError:
        return 0.0
