"""GKE's API with the identity that the workload runs as."""

from __future__ import annotations

import pytest

from inference_rollouts.clients.gke import GkeAccess, GkeClient
from inference_rollouts.core.errors import ClusterRefused
from tests.support.fake_gke import CLUSTER, FakeGke, serving_gke
from tests.support.http_server import serving


def test_without_a_token_the_metadata_server_gives_one() -> None:
    with serving_gke(FakeGke()) as fake:
        client = GkeClient(lambda: GkeAccess(fake.url, metadata_server=fake.url), CLUSTER)
        client.check_cluster()
        client.create_node_pool({"nodePool": {"name": "new"}})
        assert client.find_node_pool("new") is not None
        assert fake.tokens == 1, "it is asked for once while it is good"


def test_a_metadata_server_that_gives_no_token_is_told_with_what_to_do() -> None:
    with serving(lambda *_: (403, "text/plain", b"")) as url:
        client = GkeClient(lambda: GkeAccess(url, metadata_server=url, name="connection g"), CLUSTER)
        with pytest.raises(ClusterRefused, match="give connection g a token as password"):
            client.check_cluster()
