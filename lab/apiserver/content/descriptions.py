"""What the server says of itself: discovery and OpenAPI documents, kept until a kind comes or goes."""

from __future__ import annotations

import hashlib

from lab.apiserver.access.auth import ISSUER
from lab.apiserver.content import discovery, openapi
from lab.apiserver.content.negotiation import view_of
from lab.apiserver.errors import page_not_found
from lab.apiserver.kinds.resources import Catalog
from lab.apiserver.storage.history import encode
from lab.apiserver.types.schema import Object

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

OPENID: dict[str, Object] = {
    "/.well-known/openid-configuration": {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256"],
    },
    "/openid/v1/jwks": {"keys": []},
}
"""Who signs the tokens of service accounts: this server, with a key that it shows to nobody."""


class Descriptions:
    """Documents by path. `address` is where the server listens."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.address = ""
        self._kept: dict[tuple[str, bool], tuple[bytes, str]] = {}
        self._revision = -1

    def get(self, path: str, accept: str) -> tuple[bytes, dict[str, str]]:
        """A document and the headers it goes with. Raises ApiError: 404, or 406 for unknown forms."""
        if self._revision != self.catalog.revision:
            self._kept.clear()
            self._revision = self.catalog.revision
        aggregated = view_of(accept).as_kind == "APIGroupDiscoveryList" and path in ("/api", "/apis")
        key = (path, aggregated)
        if key not in self._kept:
            document = (
                discovery.aggregated(self.catalog, path == "/api") if aggregated else self._document(path)
            )
            body = encode(document)
            self._kept[key] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        body, tag = self._kept[key]
        headers = {"Vary": "Accept"}
        if aggregated:
            headers |= {"Content-Type": AGGREGATED_TYPE, "Cache-Control": "public"}
        if aggregated or path.startswith("/openapi/"):
            headers["ETag"] = tag
        return body, headers

    def _document(self, path: str) -> Object:
        catalog = self.catalog
        if path in OPENID:
            return OPENID[path]
        match path.strip("/").split("/"):
            case ["api"]:
                return discovery.legacy_versions(self.address)
            case ["apis"]:
                return discovery.group_list(catalog)
            case ["apis", name] if name in catalog.groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **discovery.group(catalog, name)}
            case ["api", "v1"]:
                return discovery.resource_list(catalog.of_group("", "v1"))
            case ["apis", name, version] if catalog.of_group(name, version):
                return discovery.resource_list(catalog.of_group(name, version))
            case ["openapi", "v3"]:
                return openapi.index(catalog)
            case ["openapi", "v3", "api", "v1"]:
                return openapi.document(catalog.of_group("", "v1"))
            case ["openapi", "v3", "apis", name, version] if catalog.of_group(name, version):
                return openapi.document(catalog.of_group(name, version))
        raise page_not_found()
