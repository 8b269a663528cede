"""What waiting tasks wait for."""

from __future__ import annotations

from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.rollout.checks import attachment
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import run_on

PREVIEW_NAME = "routes-to-llm-llm-pool-version-2-preview"


def test_a_preview_that_the_gateway_does_not_accept_is_waited_for() -> None:
    cluster = FakeCluster()
    run = run_on(cluster, preview={})
    for manifest in (*run.frozen.manifests, *run.frozen.previews):
        cluster.apply(manifest)
    assert attachment(run).phase is Phase.READY
    cluster.objects["HTTPRoute", PREVIEW_NAME]["status"] = {}
    assert attachment(run).phase is Phase.WAITING
