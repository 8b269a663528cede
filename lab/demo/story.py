"""The rollouts of the demo, a story for each kind, and what must be true after each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.demo.snapshot import Clients, backends
from lab.demo.source import ADAPTERS, POOLS, Source
from lab.kube.objects import Obj

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
CLAIM = "inference-rollouts.dev/claim"


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
    """What the demo shows of one kind of rollout: the DAG of a plan, its runs, and where they are seen.

    `machines` are the kinds of node that the cluster can have, as ConfigMap `node-templates` has them.
    """

    dag_id: str
    chapters: tuple[Chapter, ...]
    machines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: Source = POOLS


def _machine(accelerator: str, machine_type: str, seconds: float) -> Mapping[str, Any]:
    """A kind of node with eight accelerators that comes `seconds` after it was ordered."""
    return {
        "labels": {
            "cloud.google.com/gke-accelerator": accelerator,
            "node.kubernetes.io/instance-type": machine_type,
        },
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
        "allocatable": {"cpu": "96", "memory": "384Gi", "nvidia.com/gpu": 8},
        "seconds": seconds,
    }


STORIES = {
    "node": Story(
        dag_id="rollout_llm_nodes",
        machines={
            "h200": _machine("nvidia-h200-141gb", "a3-ultragpu-8g", seconds=6),
            "l4": _machine("nvidia-l4", "g2-standard-96", seconds=6),
        },
        chapters=(
            Chapter(
                title="the same model on faster accelerators, on nodes that are yet to come",
                stable="llm-pool",
                canary="llm-new",
                what="nvidia-h200-141gb",
                changes={"accelerator": "nvidia-h200-141gb", "machine_type": "a3-ultragpu-8g"},
                outcome="promoted",
            ),
            Chapter(
                title="cheaper accelerators, which are too slow",
                stable="llm-new",
                canary="llm-cheap",
                what="nvidia-l4",
                changes={"accelerator": "nvidia-l4", "machine_type": "g2-standard-96"},
                outcome="rolled back",
            ),
        ),
    ),
    "base-model": Story(
        dag_id="rollout_llm",
        chapters=(
            Chapter(
                title="a healthy new model server",
                stable="llm-pool",
                canary="llm-pool-version-2",
                what="vllm/vllm-openai:v0.32.0",
                changes={"image": "vllm/vllm-openai:v0.32.0", "model": MODEL},
                outcome="promoted",
            ),
            Chapter(
                title="a candidate with late first tokens and 4 % of answers 500",
                stable="llm-pool-version-2",
                canary="llm-pool-version-3",
                what="vllm/vllm-openai:v0.32.0-slow",
                changes={"image": "vllm/vllm-openai:v0.32.0-slow", "model": MODEL},
                outcome="rolled back",
                tolerated=frozenset({"http_500"}),
            ),
        ),
    ),
    "lora": Story(
        dag_id="rollout_food_review",
        source=ADAPTERS,
        chapters=(
            Chapter(
                title="a new version of an adapter, loaded beside the old one",
                stable="food-review-1",
                canary="food-review-2",
                what="/adapters/food-review-2",
                changes={"path": "/adapters/food-review-2"},
                outcome="promoted",
            ),
            Chapter(
                title="an adapter with late first tokens and 4 % of answers 500",
                stable="food-review-2",
                canary="food-review-3",
                what="/adapters/food-review-3/slow",
                changes={"path": "/adapters/food-review-3/slow"},
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
    before: Obj
    after: Obj
    clients: Clients


def disappointments(chapter: Chapter, ending: Ending) -> list[str]:
    """Whatever is not as the chapter promises, a sentence each; empty when all is."""
    complaints = []
    if ending.outcome != chapter.outcome:
        complaints.append(f"it was to be {chapter.outcome} and is {ending.outcome}")
    if unforeseen := set(ending.clients.failures) - chapter.tolerated:
        complaints.append(f"client requests failed: {', '.join(sorted(unforeseen))}")
    if not ending.clients.ended:
        complaints.append("no client request was answered meanwhile")
    if chapter.outcome == "promoted":
        complaints += _not_all_on(chapter.canary, ending.after)
    elif ending.after["spec"] != ending.before["spec"]:
        complaints.append("the route's spec is not what it was before")
    if CLAIM in (ending.after["metadata"].get("annotations") or {}):
        complaints.append("the rollout's claim was left on the route")
    return complaints


def _not_all_on(pool: str, route: Obj) -> list[str]:
    carrying = {ref["name"] for ref in backends(route, pool) if ref.get("weight", 1) > 0}
    return [] if carrying == {pool} else [f"traffic is on {', '.join(sorted(carrying))}, not all on {pool}"]
