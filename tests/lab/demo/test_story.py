"""The demo says so when a rollout did not end as promised."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lab.demo.snapshot import Clients
from lab.demo.story import STORIES, Chapter, Ending, disappointments
from lab.host.state import CHECKOUT
from lab.kube.objects import Obj

HEALTHY, SLOW = STORIES["base-model"].chapters


def route(annotations: dict[str, str] | None = None, **weights: int) -> Obj:
    refs = [{"name": name.replace("_", "-"), "weight": weight} for name, weight in weights.items()]
    metadata: dict[str, Any] = {"annotations": annotations} if annotations else {}
    return {"metadata": metadata, "spec": {"rules": [{"backendRefs": refs}]}}


PROMOTED = Ending(
    outcome="promoted",
    reason="",
    seconds=60,
    before=route(llm_pool=1),
    after=route(llm_pool=0, llm_pool_version_2=100),
    clients=Clients(Counter(ok=3000)),
)
ROLLED_BACK = Ending(
    outcome="rolled back",
    reason="",
    seconds=30,
    before=PROMOTED.after,
    after=PROMOTED.after,
    clients=Clients(Counter(ok=3000, http_500=4)),
)


def test_the_endings_as_promised() -> None:
    assert disappointments(HEALTHY, PROMOTED) == []
    assert disappointments(SLOW, ROLLED_BACK) == []


@pytest.mark.parametrize(
    ("chapter", "ending", "complaint"),
    [
        (HEALTHY, replace(PROMOTED, outcome="rolled back"), "was to be promoted and is rolled back"),
        (HEALTHY, replace(PROMOTED, clients=Clients(Counter(ok=9, http_503=1))), "failed: http_503"),
        (HEALTHY, replace(PROMOTED, clients=Clients(Counter(ok=9, http_500=1))), "failed: http_500"),
        (HEALTHY, replace(PROMOTED, clients=Clients()), "no client request"),
        (HEALTHY, replace(PROMOTED, after=route(llm_pool=1, llm_pool_version_2=99)), "not all on"),
        (
            HEALTHY,
            replace(PROMOTED, after=route({"inference-rollouts.dev/claim": "x"}, llm_pool_version_2=1)),
            "claim was left",
        ),
        (SLOW, replace(ROLLED_BACK, outcome="promoted"), "was to be rolled back and is promoted"),
        (SLOW, replace(ROLLED_BACK, clients=Clients(Counter(ok=9, reset=1))), "failed: reset"),
        (SLOW, replace(ROLLED_BACK, after=route(llm_pool_version_2=100)), "spec is not what it was"),
    ],
)
def test_each_broken_promise_is_named(chapter: Chapter, ending: Ending, complaint: str) -> None:
    (told,) = disappointments(chapter, ending)
    assert complaint in told


def test_the_parameters_are_those_of_the_form() -> None:
    assert HEALTHY.conf == {
        "stable": "llm-pool",
        "canary": "llm-pool-version-2",
        "image": "vllm/vllm-openai:v0.32.0",
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "weights": [20, 50, 100],
        "bake": "6s",
    }


def test_every_story_is_of_a_plan_that_comes_with_the_project() -> None:
    plans = (CHECKOUT / "include" / "rollouts").glob("*.yaml")
    assert {story.dag_id for story in STORIES.values()} <= {
        f"rollout_{plan.stem.replace('-', '_')}" for plan in plans
    }


def test_an_adapter_is_promoted_when_its_alias_goes_nowhere_else() -> None:
    chapter = STORIES["lora"].chapters[0]
    targets = [{"modelRewrite": "food-review-2", "weight": 100}]
    after: Obj = {"metadata": {}, "spec": {"rules": [{"targets": targets}]}}
    assert disappointments(chapter, replace(PROMOTED, after=after)) == []
    targets.append({"modelRewrite": "food-review-1", "weight": 1})
    (told,) = disappointments(chapter, replace(PROMOTED, after=after))
    assert "traffic is on food-review-1, food-review-2" in told
