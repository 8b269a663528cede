"""An adapter is on every pod of its pool, also on those that come later; who refuses is named."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import wait

import pytest

from inference_rollouts.core.errors import NotReady, ServerRefused
from inference_rollouts.rollout.adapters import AdapterReconciler, bring_old_back, ensure_loaded, new_adapter
from inference_rollouts.rollout.pods import Server, ready_servers
from tests.support.alias import URLS, alias_cluster
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_servers import FIRST, FakeServers
from tests.support.plans import food_review_plan, frozen_food_review


@pytest.fixture
def cluster() -> FakeCluster:
    return alias_cluster()


@pytest.fixture
def servers() -> FakeServers:
    return FakeServers(FIRST)


@pytest.mark.parametrize(
    ("status", "refusal", "words"),
    [
        (
            400,
            "LoRA rank 64 is greater than max_lora_rank 16.",
            ": 400: LoRA rank 64 is greater than max_lora_rank 16.",
        ),
        (404, "{'detail': 'Not Found'}", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=true"),
    ],
)
def test_a_refusal_names_pod_path_and_words(
    servers: FakeServers, status: int, refusal: str, words: str
) -> None:
    servers.refusing[URLS[0]] = ServerRefused(status, refusal)
    with pytest.raises(NotReady) as caught:
        ensure_loaded(servers, "pod-1", URLS[0], new_adapter(food_review_plan()))
    assert str(caught.value).startswith("Pod pod-1 did not load food-review-2 from /adapters/food-review-2")
    assert words in str(caught.value)
    assert ".." not in str(caught.value)


def settled(reconciler: AdapterReconciler, servers: Sequence[Server]) -> list[str]:
    """What the reconciler says once all servers have answered."""
    while "being asked" in " ".join(sentences := reconciler(servers)):
        wait(reconciler._asked.values(), timeout=60)
    return sentences


def test_pods_that_come_later_are_given_the_adapter(cluster: FakeCluster, servers: FakeServers) -> None:
    reconciler = AdapterReconciler(frozen_food_review(), fake_clients(cluster, servers=servers))
    seen = ready_servers(cluster, "llm-pool")
    assert settled(reconciler, seen) == []
    assert all("food-review-2" in servers.on(url) for url in URLS)
    servers.loaded.clear()
    assert settled(reconciler, seen) == [], "a server process is asked once"
    assert not servers.loaded
    cluster.objects["Pod", "llm-pool-0"]["status"]["containerStatuses"] = [{"restartCount": 1}]
    assert settled(reconciler, ready_servers(cluster, "llm-pool")) == []
    assert list(servers.loaded) == URLS[:1], "a restarted one has forgotten what it had loaded"


def test_a_late_pod_that_refuses_keeps_the_step_and_is_asked_again(
    cluster: FakeCluster, servers: FakeServers
) -> None:
    reconciler = AdapterReconciler(frozen_food_review(), fake_clients(cluster, servers=servers))
    servers.refusing[URLS[0]] = ServerRefused(400, "No adapter found")
    (sentence,) = settled(reconciler, ready_servers(cluster, "llm-pool"))
    assert (
        "Pod llm-pool-0 did not load food-review-2 from /adapters/food-review-2: 400: No adapter found"
        in sentence
    )
    servers.refusing.clear()
    assert settled(reconciler, ready_servers(cluster, "llm-pool")) == []


def test_pods_that_come_later_are_given_the_old_adapter_too(cluster: FakeCluster) -> None:
    """A runtime adapter that was loaded by hand: a pod that an autoscaler started knows neither."""
    servers = FakeServers()
    for url in URLS[:2]:
        servers.on(url).update(FIRST)
    reconciler = AdapterReconciler(frozen_food_review(), fake_clients(cluster, servers=servers))
    assert settled(reconciler, ready_servers(cluster, "llm-pool")) == []
    both = FIRST | {"food-review-2": "/adapters/food-review-2"}
    assert [servers.on(url) for url in URLS] == [both] * 3


def test_a_late_pod_that_refuses_the_new_adapter_has_the_old_one(cluster: FakeCluster) -> None:
    servers = FakeServers(lacking={"/adapters/food-review-2"})
    reconciler = AdapterReconciler(frozen_food_review(), fake_clients(cluster, servers=servers))
    sentences = settled(reconciler, ready_servers(cluster, "llm-pool"))
    assert len(sentences) == 3
    assert all("did not load food-review-2" in each for each in sentences)
    assert [servers.on(url) for url in URLS] == [FIRST] * 3


def test_an_old_adapter_that_nobody_can_load_keeps_the_step(
    cluster: FakeCluster, servers: FakeServers
) -> None:
    servers.on(URLS[2]).clear()
    frozen = frozen_food_review(stable_path="")
    reconciler = AdapterReconciler(frozen, fake_clients(cluster, servers=servers))
    [sentence] = settled(reconciler, ready_servers(cluster, "llm-pool"))
    assert "Pod llm-pool-2" in sentence
    assert "food-review-1" in sentence


def test_before_all_goes_back_the_old_adapter_is_everywhere_that_answers(cluster: FakeCluster) -> None:
    servers = FakeServers(refusing={URLS[0]: ServerRefused(500, "busy")})
    bring_old_back(fake_clients(cluster, servers=servers), frozen_food_review())
    assert [servers.on(url) for url in URLS] == [{}, FIRST, FIRST]


def test_servers_that_load_lazily_are_told_nothing(cluster: FakeCluster) -> None:
    servers = FakeServers(lazy=True)
    bring_old_back(fake_clients(cluster, servers=servers), frozen_food_review(load="lazy"))
    reconciler = AdapterReconciler(frozen_food_review(load="lazy"), fake_clients(cluster, servers=servers))
    assert settled(reconciler, ready_servers(cluster, "llm-pool")) == []
    assert all(set(servers.on(url)) == {"food-review-1", "food-review-2"} for url in URLS)


def test_a_pod_of_which_nobody_knows_where_it_listens_keeps_the_step(
    cluster: FakeCluster, servers: FakeServers
) -> None:
    reconciler = AdapterReconciler(frozen_food_review(), fake_clients(cluster, servers=servers))
    del cluster.objects["Pod", "llm-pool-0"]["status"]["podIP"]
    assert settled(reconciler, ready_servers(cluster, "llm-pool")) == [
        "Nobody knows where pod llm-pool-0 listens."
    ]
