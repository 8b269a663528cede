"""An API server of the lab for each module, and namespaces in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.lab.apiserver_process import ApiServer

numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """A namespace of its own for a test."""
    name = f"test-{next(numbers)}"
    server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name
