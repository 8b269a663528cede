"""The two rollouts of the demo, and what must be true after each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.demo.snapshot import Clients, Json, backends

DAG_ID = "rollout_llm"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
OURS = "inference-rollouts.dev/"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One rollout. `tolerated` are the client failures that its image injects, by cause."""

    title: str
    stable: str
    canary: str
    image: str
    outcome: str
    tolerated: frozenset[str] = frozenset()
    weights: tuple[int, ...] = (20, 50, 100)
    bake: str = "6s"

    @property
    def conf(self) -> dict[str, Any]:
        """The run's parameters, as a person fills in the form in the UI."""
        return {
            "stable": self.stable,
            "canary": self.canary,
            "image": self.image,
            "model": MODEL,
            "weights": list(self.weights),
            "bake": self.bake,
        }

    @property
    def bake_seconds(self) -> float:
        """How long each step bakes."""
        return float(self.bake.removesuffix("s"))


CHAPTERS = (
    Chapter(
        title="a healthy new model",
        stable="llm-pool",
        canary="llm-pool-version-2",
        image="vllm/vllm-openai:v0.11.0",
        outcome="promoted",
    ),
    Chapter(
        title="a candidate with late first tokens and 4 % of answers 500",
        stable="llm-pool-version-2",
        canary="llm-pool-version-3",
        image="vllm/vllm-openai:v0.11.0-slow",
        outcome="rolled back",
        tolerated=frozenset({"http_500"}),
    ),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """What a rollout left behind: its own words, the route before and after, what clients saw meanwhile."""

    outcome: str
    reason: str
    seconds: float
    before: Json
    after: Json
    clients: Clients


def disappointments(chapter: Chapter, ending: Ending) -> list[str]:
    """Whatever is not as the chapter promises, a sentence each; empty when all is."""
    found = []
    if ending.outcome != chapter.outcome:
        found.append(f"it was to be {chapter.outcome} and is {ending.outcome}")
    if unforeseen := set(ending.clients.failures) - chapter.tolerated:
        found.append(f"client requests failed: {', '.join(sorted(unforeseen))}")
    if not ending.clients.ended:
        found.append("no client request was answered meanwhile")
    if chapter.outcome == "promoted":
        found += _not_all_on(chapter.canary, ending.after)
    elif ending.after["spec"] != ending.before["spec"]:
        found.append("the route's spec is not what it was before")
    if left := _ours(ending.after):
        found.append(f"annotations were left on the route: {', '.join(left)}")
    return found


def _not_all_on(pool: str, route: Json) -> list[str]:
    carrying = {ref["name"] for ref in backends(route, pool) if ref.get("weight", 1) > 0}
    return [] if carrying == {pool} else [f"traffic is on {', '.join(sorted(carrying))}, not all on {pool}"]


def _ours(route: Json) -> list[str]:
    annotations: Mapping[str, str] = route["metadata"].get("annotations") or {}
    return sorted(key for key in annotations if key.startswith(OURS))
