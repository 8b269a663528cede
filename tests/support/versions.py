"""Versions as tests write them, and plans that roll them out."""

from __future__ import annotations

import hashlib
from typing import Any

from inference_rollouts.core.plan.plan import AdapterPlan, PoolPlan
from inference_rollouts.core.versions.memory import Became, Fate, Memory
from inference_rollouts.core.versions.version import Version
from tests.support.plans import food_review_plan, llm, llm_plan

URL = "file:///versions.json"
FILE = {"from": "file", "url": URL}


def version(name: str, since: float | None = None, *, pinned: bool = True) -> Version:
    """A version whose digest is that of its name."""
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    return Version(name=name, digest=digest if pinned else None, since=since)


def fate(
    name: str, became: Became = Became.ROLLED_BACK, at: float = 1.0, run: str = "rollout_llm/r0"
) -> Fate:
    """What became of such a version."""
    return Fate(version=version(name), became=became, run=run, at=at, why="the canary is worse")


def memory(*fates: Fate) -> Memory:
    return Memory().with_(fates)


def versioned(**changes: Any) -> dict[str, Any]:
    """What makes the plan llm one that has versions."""
    work = llm()["workload"] | {"image": "vllm/vllm-openai:{version}@{digest}"}
    names = {"stable": "current", "canary": "llm-{version}"}
    return {**names, "workload": work, "versions": {"source": FILE} | changes}


def versioned_plan(**changes: Any) -> PoolPlan:
    """The plan llm with versions; `changes` are those of `versions`."""
    return llm_plan(**versioned(**changes))


def versioned_adapter_plan(path: str = "/adapters/food-review-{version}") -> AdapterPlan:
    names = {"stable": "current", "canary": "food-review-{version}", "path": path}
    return food_review_plan(**names, versions={"source": FILE})
