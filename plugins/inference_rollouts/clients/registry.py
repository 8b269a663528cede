"""An OCI registry: the tags of a repository, what they stand for, and since when.

It speaks the pull side of the OCI distribution specification (1.1), with its token authentication, and asks
as little as it can: one request for the tags, one for each version that is looked at, and two or three more
where its age matters.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from inference_rollouts.clients.connections import TimeLeft, session
from inference_rollouts.clients.exchanges import Reply, exchange
from inference_rollouts.core.errors import SourceRefused, SourceUnavailable
from inference_rollouts.core.limits import REGISTRY_BYTES, REGISTRY_TIMEOUT, TAG_PAGES
from inference_rollouts.core.objects.k8s import moment, part, parts
from inference_rollouts.core.versions.semver import is_release, rank
from inference_rollouts.core.versions.version import DIGEST, Version

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
CREATED = "org.opencontainers.image.created"
TAGS = 1000  # of one page

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """Where a registry is, and as whom it is asked: a `password` without `login` is sent as bearer token.

    `name` says in errors where that was set up.
    """

    url: str
    login: str = ""
    password: str = ""
    name: str = "the connection"


class RegistryClient:
    """A registry at the address that `find` gives on first use. `timeout`: seconds for one request."""

    def __init__(self, find: Callable[[], RegistryAccess], timeout: float = REGISTRY_TIMEOUT) -> None:
        self._find = find
        self._timeout = timeout
        self._session = session()
        self._known: RegistryAccess | None = None
        self._authorization: dict[str, str] = {}  # by repository

    def semantic(self, repository: str, *, prereleases: bool, aged: bool) -> Iterator[Version]:
        """The tags that are semantic versions, the newest first; each is asked for when it is its turn.

        `aged`: with the time at which they were built. Raises SourceRefused, SourceUnavailable.
        """
        tags = [tag for tag in self._tags(repository) if rank(tag) and (prereleases or is_release(tag))]
        for tag in sorted(tags, key=lambda tag: rank(tag) or ((0, 0, 0), ()), reverse=True):
            yield self.tagged(repository, tag, aged=aged)

    def tagged(self, repository: str, tag: str, *, aged: bool) -> Version:
        """What a tag stands for now. Raises SourceRefused, SourceUnavailable."""
        path = f"/v2/{repository}/manifests/{tag}"
        if not aged:
            digest = self._ask("HEAD", path, repository, ACCEPT).headers.get("Docker-Content-Digest", "")
            if re.fullmatch(DIGEST, digest):
                return Version(name=tag, digest=digest)
        reply = self._ask("GET", path, repository, ACCEPT)
        digest = f"sha256:{hashlib.sha256(reply.body).hexdigest()}"
        return Version(name=tag, digest=digest, since=self._created(repository, reply) if aged else None)

    def _tags(self, repository: str) -> list[str]:
        path, tags = f"/v2/{repository}/tags/list?n={TAGS}", list[str]()
        for _ in range(TAG_PAGES):
            reply = self._ask("GET", path, repository)
            listed = reply.object.get("tags") or []
            tags += [tag for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []
            following = _NEXT.search(reply.headers.get("Link", ""))
            if not following:
                return tags
            parsed = urlsplit(urljoin(path, following[1]))
            path = f"{parsed.path}?{parsed.query}"
        raise SourceRefused(f"Repository {repository} has more than {TAGS * TAG_PAGES} tags; name one `tag`.")

    def _created(self, repository: str, reply: Reply) -> float | None:
        """When an image was built, as its annotations or its configuration say; of an index the first."""
        manifest = reply.object
        if (built := _annotated(manifest)) is not None:
            return built
        if images := parts(manifest, "manifests"):
            path = f"/v2/{repository}/manifests/{_digest(images[0])}"
            manifest = self._ask("GET", path, repository, ACCEPT).object
            if (built := _annotated(manifest)) is not None:
                return built
        config = _digest(part(manifest, "config"))
        return moment(self._blob(repository, config).get("created")) if config else None

    def _blob(self, repository: str, digest: str) -> dict[str, Any]:
        """A JSON blob; registries send whoever asks on to where it is stored, which gets no credentials."""
        reply = self._ask("GET", f"/v2/{repository}/blobs/{digest}", repository, redirected=True)
        if where := reply.headers.get("Location"):
            reply = self._send("GET", urljoin(self._access.url, where), {})
        return reply.object if f"sha256:{hashlib.sha256(reply.body).hexdigest()}" == digest else {}

    def _ask(
        self,
        method: str,
        path: str,
        repository: str,
        headers: Mapping[str, str] | None = None,
        *,
        redirected: bool = False,
    ) -> Reply:
        """An answer of status 200, or one that leads elsewhere; asked again with a token if one is wanted."""
        url, headers = f"{self._access.url}{path}", headers or {}
        reply = self._send(method, url, {**headers, **self._authorized(repository)}, redirected=redirected)
        if reply.status == 401:
            self._authorization[repository] = self._authorize(reply, repository)
            authorized = {**headers, **self._authorized(repository)}
            reply = self._send(method, url, authorized, redirected=redirected)
        if reply.status == 200 or (redirected and reply.headers.get("Location")):
            return reply
        says = f"The registry at {self._access.url} answered {reply.status} ({reply.reason}) for {path}"
        if reply.status == 429 or reply.status >= 500:
            raise SourceUnavailable(f"{says}.")
        raise SourceRefused(
            f"{says}: is there such a repository, and may {self._access.name} read it? Nothing was written."
        )

    def _send(self, method: str, url: str, headers: Mapping[str, str], **request: Any) -> Reply:
        left = TimeLeft(self._timeout)
        try:
            return exchange(
                self._session, method, url, left, REGISTRY_BYTES, headers=dict(headers), **request
            )
        except requests.ConnectionError as error:
            raise SourceUnavailable(f"The registry does not answer {method} {url}: {error}.") from error

    @property
    def _access(self) -> RegistryAccess:
        if self._known is None:
            self._known = self._find()
        return self._known

    def _authorized(self, repository: str) -> dict[str, str]:
        known = self._authorization.get(repository)
        access = self._access
        if known is None and access.password and not access.login:
            known = f"Bearer {access.password}"
        return {"Authorization": known} if known else {}

    def _authorize(self, refused: Reply, repository: str) -> str:
        """What a registry that refused wants to be asked with."""
        access, challenge = self._access, refused.headers.get("WWW-Authenticate", "")
        if challenge.lower().startswith("basic") and access.login:
            return f"Basic {b64encode(f'{access.login}:{access.password}'.encode()).decode()}"
        wanted = dict(_CHALLENGE.findall(challenge))
        realm = wanted.get("realm", "")
        if not challenge.lower().startswith("bearer") or not _is_safe(realm, access.url):
            raise SourceRefused(f"The registry at {access.url} does not let {access.name} in (401).")
        asked = {"service": wanted.get("service", ""), "scope": f"repository:{repository}:pull"}
        auth = (access.login, access.password) if access.login else None
        reply = self._send("GET", realm, {}, params=asked, auth=auth)
        token = reply.object.get("token") or reply.object.get("access_token")
        if reply.status != 200 or not isinstance(token, str) or not re.fullmatch("[!-~]+", token):
            raise SourceRefused(f"{realm} gives {access.name} no token for {repository} ({reply.status}).")
        return f"Bearer {token}"


def _is_safe(realm: str, registry: str) -> bool:
    """Whether a password may be sent there: encrypted, if the registry itself is."""
    scheme = urlsplit(realm).scheme
    return scheme == "https" or (scheme == "http" and urlsplit(registry).scheme == "http")


def _annotated(manifest: Mapping[str, Any]) -> float | None:
    return moment(part(manifest, "annotations").get(CREATED))


def _digest(descriptor: Mapping[str, Any]) -> str:
    digest = str(descriptor.get("digest", ""))
    return digest if re.fullmatch(DIGEST, digest) else ""
