"""What an observer of a step has seen and the cluster forgets: for whoever observes the step after it.

It is on the Lease beside what moves. A pod that is gone has counted, and crashed, in this step all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import ConfigDict, ValidationError

from inference_rollouts.core.judging.counters import Exporter
from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.values import Value

MOST = 500  # pods that are remembered: of names of 60 characters an eighth of what annotations may have


class Memory(Value):
    """What was seen since `since` (Unix seconds): the pods whose metrics count (what they export, and their
    names), and of the canary's crashes what `Crashes` needs to go on."""

    model_config = ConfigDict(extra="ignore")  # a newer version may have written it

    since: float
    exporters: tuple[tuple[str, str], ...] = ()
    restarts: int = 0
    lost: tuple[str, ...] = ()
    come: int = 0
    containers: tuple[tuple[str, str, int], ...] = ()
    grown: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def of(cls, crashes: Crashes, exporters: Collection[Exporter], there: Collection[Exporter]) -> Memory:
        """Of these; those that are not `there` any more are remembered first, where there are very many."""
        gone, here = (sorted(each) for each in (set(exporters).difference(there), set(there)))
        counts, grown = (
            sorted((pod, name, count) for (pod, name), count in each.items() if count)
            for each in (crashes.containers, crashes.grown)
        )
        return cls(
            since=crashes.since,
            exporters=tuple([*gone, *here][:MOST]),
            restarts=crashes.restarts,
            lost=tuple(sorted(crashes.lost)[:MOST]),
            come=crashes.come,
            containers=tuple(counts[:MOST]),
            grown=tuple(grown[:MOST]),
        )

    @property
    def crashes(self) -> Crashes:
        """Who went and came while nobody looked may have been deleted: that is no crash."""
        counts, grown = (
            {(pod, name): count for pod, name, count in each} for each in (self.containers, self.grown)
        )
        return Crashes(self.since, self.restarts, frozenset(self.lost), self.come, counts, grown)


def read_memory(text: str, since: float) -> Memory | None:
    """What was remembered of a step since `since`; None where it is of another, or says nothing of use."""
    try:
        memory = Memory.model_validate_json(text)
    except ValidationError:
        return None
    return memory if memory.since == since else None


def crashes_since(since: float, left: Iterable[str]) -> Crashes:
    """Those of a step since `since`, as far as one of the texts that were left remembers them."""
    known = (memory for text in left if (memory := read_memory(text, since)))
    return next((memory.crashes for memory in known), Crashes(since))
