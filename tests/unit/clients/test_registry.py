"""Registries of images: a real one, and what others do that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_rollouts.clients.registry import RegistryAccess, RegistryClient
from inference_rollouts.core.errors import SourceRefused, SourceUnavailable
from lab.monitoring.binary import PrometheusNotFound, unpacked
from tests.support.registry import CREDENTIALS, TokenRegistry, push, running

BUILT = "2026-11-20T12:00:00Z"
AT = 1795176000.0


@pytest.fixture(scope="session")
def docker_registry() -> Path:
    """Debian's docker-registry, the reference implementation (CNCF distribution 2.8)."""
    try:
        return unpacked("docker-registry")
    except PrometheusNotFound as error:
        pytest.skip(f"there is no registry here: {error}")


def client(url: str, login: str = "", password: str = "") -> RegistryClient:
    return RegistryClient(lambda: RegistryAccess(url, login, password, "connection registry_default"))


def test_a_real_registry_shows_its_versions_the_newest_first(docker_registry: Path, tmp_path: Path) -> None:
    with running(docker_registry, tmp_path) as url:
        digests = {
            tag: push(url, "shop/llm", tag, BUILT) for tag in ("v1.9.0", "v1.10.0", "v2.0.0-rc.1", "x")
        }
        registry = client(url)
        found = list(registry.semantic("shop/llm", prereleases=False, aged=False))
        assert [(each.name, each.digest) for each in found] == [
            ("v1.10.0", digests["v1.10.0"]),
            ("v1.9.0", digests["v1.9.0"]),
        ]
        first = next(iter(registry.semantic("shop/llm", prereleases=True, aged=True)))
        assert (first.name, first.since) == ("v2.0.0-rc.1", AT)
        moved = push(url, "shop/llm", "x", "2026-11-21T12:00:00Z")
        assert registry.tagged("shop/llm", "x", aged=False).digest == moved != digests["x"]
        with pytest.raises(SourceRefused, match="404"):
            registry.tagged("shop/llm", "y", aged=False)
        with pytest.raises(SourceRefused, match="Nothing was written"):
            list(registry.semantic("shop/other", prereleases=False, aged=False))


def test_a_token_is_got_by_the_connections_login_once_and_tags_come_in_pages() -> None:
    registry = TokenRegistry()
    digests = {tag: registry.add(tag, BUILT) for tag in ("v1.0.0", "v1.1.0", "latest", "v1.2.0", "v0.9.0")}
    with registry.serving() as url:
        asked = client(url, *CREDENTIALS)
        newest = next(iter(asked.semantic("shop/llm", prereleases=False, aged=True)))
    assert (newest.name, newest.digest, newest.since) == ("v1.2.0", digests["v1.2.0"], AT)
    assert registry.asked.count("GET /token") == 1
    assert sum(path.endswith("/tags/list") for path in registry.asked) == 4, "the first one refused"
    assert sum("/manifests/" in path for path in registry.asked) == 2, "one tag's index, and its image"


def test_only_what_is_looked_at_is_asked_for() -> None:
    registry = TokenRegistry(page=100)
    for number in range(50):
        registry.add(f"v1.{number}.0", BUILT)
    with registry.serving() as url:
        next(iter(client(url, *CREDENTIALS).semantic("shop/llm", prereleases=False, aged=False)))
    assert len(registry.asked) <= 5


@pytest.mark.parametrize(("login", "password"), [("", ""), ("kim", "wrong")])
def test_who_is_not_let_in_is_told_so(login: str, password: str) -> None:
    registry = TokenRegistry()
    with registry.serving() as url, pytest.raises(SourceRefused, match="connection registry_default"):
        client(url, login, password).tagged("shop/llm", "v1", aged=False)


@pytest.mark.parametrize(
    ("status", "error"), [(500, SourceUnavailable), (429, SourceUnavailable), (403, SourceRefused)]
)
def test_what_may_pass_is_tried_again_and_nothing_else(status: int, error: type[Exception]) -> None:
    registry = TokenRegistry(status=status)
    with registry.serving() as url, pytest.raises(error, match=str(status)):
        client(url).tagged("shop/llm", "v1", aged=False)


def test_a_registry_that_is_not_there_may_be_there_later() -> None:
    with pytest.raises(SourceUnavailable):
        client("http://127.0.0.1:9").tagged("shop/llm", "v1", aged=False)
