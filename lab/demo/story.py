"""The rollouts of the demo, a story for each kind, and what must be true after each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.demo.snapshot import Clients, Json, backends

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
OURS = "inference-rollouts.dev/"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One rollout: `what` is new, `changes` are the run's parameters for it.

    `tolerated` are the client failures that it injects, by cause.
    """

    title: str
    stable: str
    canary: str
    what: str
    outcome: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    tolerated: frozenset[str] = frozenset()
    weights: tuple[int, ...] = (20, 50, 100)
    bake: str = "6s"

    @property
    def conf(self) -> dict[str, Any]:
        """The run's parameters, as a person fills in the form in the UI."""
        return {
            "stable": self.stable,
            "canary": self.canary,
            **self.changes,
            "weights": list(self.weights),
            "bake": self.bake,
        }

    @property
    def bake_seconds(self) -> float:
        """How long each step bakes."""
        return float(self.bake.removesuffix("s"))


@dataclass(frozen=True, slots=True)
class Story:
    """What the demo shows of one kind of rollout: the DAG of a plan, and its runs."""

    dag_id: str
    chapters: tuple[Chapter, ...]


STORIES = {
    "base-model": Story(
        dag_id="rollout_llm",
        chapters=(
            Chapter(
                title="a healthy new model server",
                stable="llm-pool",
                canary="llm-pool-version-2",
                what="vllm/vllm-openai:v0.11.0",
                changes={"image": "vllm/vllm-openai:v0.11.0", "model": MODEL},
                outcome="promoted",
            ),
            Chapter(
                title="a candidate with late first tokens and 4 % of answers 500",
                stable="llm-pool-version-2",
                canary="llm-pool-version-3",
                what="vllm/vllm-openai:v0.11.0-slow",
                changes={"image": "vllm/vllm-openai:v0.11.0-slow", "model": MODEL},
                outcome="rolled back",
                tolerated=frozenset({"http_500"}),
            ),
        ),
    ),
}


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
