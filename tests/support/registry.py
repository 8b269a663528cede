"""Registries of images: Debian's docker-registry, a real one, and what a token server adds to it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from lab.host.addresses import free_port
from tests.support.http_server import Reply, serving

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
CREDENTIALS = ("kim", "secret")


@contextmanager
def running(binary: Path, folder: Path) -> Iterator[str]:
    """The registry in `binary`, whose content is in `folder`; its address."""
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    file = folder / "config.json"  # JSON is YAML
    file.write_text(json.dumps(config))
    process = subprocess.Popen([binary, "serve", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while not _answers(url):
            assert process.poll() is None, "the registry ended"
            assert time.monotonic() < end, "the registry does not answer"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def push(url: str, repository: str, tag: str, created: str) -> str:
    """An image without layers under a tag; its digest."""
    config = json.dumps({"created": created, "architecture": "amd64", "os": "linux", "tag": tag}).encode()
    where = requests.post(f"{url}/v2/{repository}/blobs/uploads/", timeout=10).headers["Location"]
    joint = "&" if "?" in where else "?"
    requests.put(f"{where}{joint}digest={digest(config)}", data=config, timeout=10).raise_for_status()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(config), "digest": digest(config)},
        "layers": [],
    }
    answer = requests.put(
        f"{url}/v2/{repository}/manifests/{tag}",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST},
        timeout=10,
    )
    answer.raise_for_status()
    return str(answer.headers["Docker-Content-Digest"])


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/v2/", timeout=1).ok
    except requests.ConnectionError:
        return False


class TokenRegistry:
    """A stand-in that follows the distribution specification and its token authentication, in memory.

    `asked` are the requests; manifests that are lists, pages of tags and blobs that lie elsewhere are what a
    plain registry does not show.
    """

    def __init__(self, page: int = 2, status: int = 200) -> None:
        self.page, self.status = page, status
        self.tags: list[str] = []
        self.manifests: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.url = ""

    def add(self, tag: str, created: str) -> str:
        """An index of one image; its digest."""
        config = json.dumps({"created": created}).encode()
        self.blobs[digest(config)] = config
        image = self._stored({"config": {"digest": digest(config)}})
        self.tags.append(tag)
        self.manifests[tag] = {"manifests": [{"digest": image}]}
        return digest(json.dumps(self.manifests[tag]).encode())

    def _stored(self, manifest: dict[str, Any]) -> str:
        known = digest(json.dumps(manifest).encode())
        self.manifests[known] = manifest
        return known

    @contextmanager
    def serving(self) -> Iterator[str]:
        with serving(self._answer) as url:
            self.url = url
            yield url

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        authorization = request.headers.get("Authorization", "")
        self.asked.append(f"{request.command} {path}")
        if path == "/token":
            return self._token(authorization, query)
        if path.startswith("/elsewhere/"):
            assert not authorization, "credentials were sent to where blobs are stored"
            return 200, "application/json", self.blobs[path.removeprefix("/elsewhere/")]
        if self.status != 200:
            return self.status, "text/plain", b"no"
        if authorization != "Bearer t0ken":
            realm = f'Bearer realm="{self.url}/token",service="registry",scope="repository:shop/llm:pull"'
            return self._with(request, 401, {"WWW-Authenticate": realm})
        if path.endswith("/tags/list"):
            return self._tags(request, query)
        if "/blobs/" in path:
            return self._with(request, 307, {"Location": f"/elsewhere/{path.rpartition('/')[2]}"})
        return 200, MANIFEST, json.dumps(self.manifests[path.rpartition("/")[2]]).encode()

    def _token(self, authorization: str, query: dict[str, list[str]]) -> Reply:
        basic = f"Basic {b64encode(':'.join(CREDENTIALS).encode()).decode()}"
        wanted = {"service": ["registry"], "scope": ["repository:shop/llm:pull"]}
        if authorization != basic or query != wanted:
            return 401, "application/json", b"{}"
        return 200, "application/json", b'{"token": "t0ken"}'

    def _tags(self, request: BaseHTTPRequestHandler, query: dict[str, list[str]]) -> Reply:
        first = self.tags.index(query["last"][0]) + 1 if "last" in query else 0
        page = self.tags[first : first + self.page]
        body = json.dumps({"name": "shop/llm", "tags": page}).encode()
        if first + self.page >= len(self.tags):
            return 200, "application/json", body
        return self._with(
            request, 200, {"Link": f'</v2/shop/llm/tags/list?last={page[-1]}&n=2>; rel="next"'}, body
        )

    def _with(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b"{}"
    ) -> Reply:
        """An answer with more headers than the server of tests has."""
        request.extra_headers = headers  # type: ignore[attr-defined]
        return status, "application/json", body
