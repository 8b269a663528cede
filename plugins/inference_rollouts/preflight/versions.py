"""Which version a run rolls out: the source is read now, whatever event has started the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from pydantic import TypeAdapter, ValidationError

from inference_rollouts.clients import Clients
from inference_rollouts.clients.include import plan_named
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import SourceRefused
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.plan.versions import Event, File, Parameter, Registry, Versions
from inference_rollouts.core.run.versioned import needs_digest
from inference_rollouts.core.values import mistakes
from inference_rollouts.core.versions.choice import Choice, Rules, choose, choose_named
from inference_rollouts.core.versions.memory import Memory
from inference_rollouts.core.versions.version import Version, parse_version
from inference_rollouts.rollout.targets import claimable_objects
from inference_rollouts.rollout.versions import read_memory

_LISTED = TypeAdapter(list[Version])


@dataclass(frozen=True, slots=True)
class Told:
    """An asset's event: what is in its `extra`, and when it came (Unix seconds)."""

    extra: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What one run wants to know.

    `named` is the version that a person wants, `kept` the one that an earlier try of the run has chosen;
    empty: none. `events` are those of the plan's asset, the newest first. `cluster_of` leads to the cluster
    of another plan.
    """

    run: str
    named: str
    kept: str
    events: Sequence[Told]
    cluster_of: Callable[[Plan], Cluster]


def latest(plan: Plan, versions: Versions, clients: Clients, asked: Asked, now: float) -> Choice:
    """The newest version that may be rolled out now.

    One that was chosen stays chosen when a run is tried again or cleared. Raises SourceRefused, PlanInvalid.
    """
    rules = _rules(plan, versions, clients.cluster, asked)
    if kept := parse_version(asked.kept):
        return choose_named(kept, rules, now)
    if asked.named:
        return choose_named(_found(asked.named, plan, versions, clients, asked), rules, now)
    return choose(_newest_first(plan, versions, clients, asked), rules, now)


def memory_of(cluster: Cluster, plan: str) -> Memory:
    """What became of a plan's versions, with what is yet to be written down."""
    return read_memory(cluster, plan, claimable_objects(cluster))


def _rules(plan: Plan, versions: Versions, cluster: Cluster, asked: Asked) -> Rules:
    promoted = frozenset[str]()
    if versions.after:
        other = plan_named(versions.after)
        promoted = memory_of(asked.cluster_of(other), other.name).promoted
    return Rules(
        memory=memory_of(cluster, plan.name),
        pinned=needs_digest(plan),
        min_age=versions.min_age,
        after=versions.after or "",
        promoted=promoted,
        run=asked.run,
    )


def _found(text: str, plan: Plan, versions: Versions, clients: Clients, asked: Asked) -> Version:
    """The version that a person names: as it is, if that says all, else as the source knows it."""
    version = parse_version(text)
    if version and (version.digest or not needs_digest(plan)):
        return version
    for each in _newest_first(plan, versions, clients, asked):
        if version and each.name == version.name:
            return each
    raise SourceRefused(f"The source of plan {plan.name} has no version {text!r}. Nothing was written.")


def _newest_first(plan: Plan, versions: Versions, clients: Clients, asked: Asked) -> Iterable[Version]:
    """All versions that the source has; a registry is asked for each when it is its turn."""
    aged = versions.min_age > 0
    match versions.source:
        case Parameter():
            return ()
        case File(url=url):
            found = _listed(clients.storage.read_json(url).get("versions"), url)
            return sorted(found, key=lambda version: version.since or 0.0, reverse=True)
        case Event(asset=asset):
            return _listed([_with_time(each) for each in asked.events], f"asset {asset}")
        case Registry(repository=repository, tag=str() as tag):
            return (clients.registry.tagged(repository, tag, aged=aged),)
        case Registry(repository=repository, prereleases=prereleases):
            return clients.registry.semantic(repository, prereleases=prereleases, aged=aged)
        case _:
            assert_never(versions.source)


def _with_time(event: Told) -> dict[str, Any]:
    return {"name": event.extra.get("name"), "digest": event.extra.get("digest"), "since": event.at}


def _listed(value: Any, where: str) -> list[Version]:
    try:
        return _LISTED.validate_python(value)
    except ValidationError as error:
        raise SourceRefused(f"{where} holds no list of versions: {mistakes(error)}.") from error
