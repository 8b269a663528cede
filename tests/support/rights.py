"""A cluster that allows what a file of RBAC says and nothing else, and remembers which task used what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from inference_rollouts.clients.discovery import Extensions
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.fake_cluster import CLUSTER_SCOPED, FakeCluster

ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / "docs" / "rbac.yaml"
GUARDIAN = ROOT / "include" / "manifests" / "guardian" / "rbac.yaml"


class Right(NamedTuple):
    """To do `verb` with a resource of an API group: in the plan's namespace, or `everywhere`."""

    resource: str
    verb: str
    group: str
    everywhere: bool = False


def documented(document: Path) -> frozenset[Right]:
    """Every right that a file of RBAC gives."""
    roles = [each for each in yaml.safe_load_all(document.read_text()) if each["kind"].endswith("Role")]
    return frozenset(
        Right(resource, verb, group, role["kind"] == "ClusterRole")
        for role in roles
        for rule in role["rules"]
        for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    )


class Rights:
    """What was used, by task; and what was refused. `task` says which acts now."""

    def __init__(self, task: Callable[[], str], document: Path = AIRFLOW) -> None:
        self.task = task
        self.used: dict[str, set[Right]] = {}
        self.refused: list[Right] = []
        self._given = documented(document)

    def use(self, right: Right) -> None:
        """Raises PermissionError where it is not documented: no accident that might pass."""
        granted = right if right in self._given else right._replace(everywhere=True)
        if granted not in self._given:
            self.refused.append(right)
            raise PermissionError(f"no RBAC policy matched {right}")
        task = self.task().rpartition(".")[2]  # of several steps, one stands for all
        self.used.setdefault(task, set()).add(granted)

    @property
    def unused(self) -> frozenset[Right]:
        return self._given - frozenset().union(*self.used.values())


class GuardedCluster:
    """A FakeCluster behind RBAC."""

    def __init__(self, cluster: FakeCluster, rights: Rights) -> None:
        self.cluster, self.rights = cluster, rights

    def _use(self, api: str, kind: str, *verbs: str, everywhere: bool = False) -> None:
        for verb in verbs:
            group = api.rpartition("/")[0]
            wide = everywhere or kind in CLUSTER_SCOPED
            self.rights.use(Right(_plural(kind), verb, group, wide))

    def time(self) -> float:
        return self.cluster.time()

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Any:
        other = namespace not in (None, self.cluster.namespace)
        self._use(api_version, kind, "get", everywhere=other)
        return self.cluster.get(api_version, kind, name, namespace)

    def find(self, api_version: str, kind: str, name: str) -> Any:
        if self.serves(api_version, kind):
            self._use(api_version, kind, "get")
        return self.cluster.find(api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        self._use(api_version, kind, "list")
        return self.cluster.select(api_version, kind, labels)

    def select_everywhere(self, api_version: str, kind: str) -> list[K8sObject]:
        self._use(api_version, kind, "list", everywhere=True)
        return self.cluster.select_everywhere(api_version, kind)

    def serves(self, api_version: str, kind: str) -> bool:
        return self.cluster.serves(api_version, kind)

    def extensions(self) -> Extensions:
        return self.cluster.extensions()

    def apply(self, manifest: K8sObject, *, dry_run: bool = False, force: bool = False) -> Any:
        api, kind, name = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
        creates = (kind, name) not in self.cluster.objects
        self._use(api, kind, "patch", *(["create"] if creates else []))
        return self.cluster.apply(manifest, dry_run=dry_run, force=force)

    def patch(self, api_version: str, kind: str, name: str, patch: Sequence[K8sObject]) -> Any:
        self._use(api_version, kind, "patch")
        return self.cluster.patch(api_version, kind, name, patch)

    def delete(self, obj: K8sObject) -> None:
        self._use(obj["apiVersion"], obj["kind"], "delete")
        self.cluster.delete(obj)

    def events_about(self, obj: K8sObject) -> list[K8sObject]:
        self._use("v1", "Event", "list")
        return self.cluster.events_about(obj)

    def event(self, about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        self._use("v1", "Event", "create")
        self.cluster.event(about, reason, message, warning=warning)


class GuardedView:
    """What watches tell of a GuardedCluster: each kind is listed and watched; here it is read each time."""

    def __init__(self, cluster: GuardedCluster) -> None:
        self._cluster = cluster

    def close(self) -> None:
        pass

    def age_of(self, api_version: str, kind: str) -> float:
        return 0.0

    def version_of(self, *key: object) -> object:
        return object()

    versions_of = version_of

    def serves(self, api_version: str, kind: str) -> bool:
        return self._cluster.serves(api_version, kind)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Any:
        self._watch(api_version, kind)
        return self._cluster.get(api_version, kind, name, namespace)

    def watch(self, api_version: str, kind: str) -> None:
        if self.serves(api_version, kind):
            self._watch(api_version, kind)

    def find(self, api_version: str, kind: str, name: str) -> Any:
        self.watch(api_version, kind)
        return self._cluster.find(api_version, kind, name)

    def select(self, api_version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[K8sObject]:
        self._watch(api_version, kind)
        return self._cluster.select(api_version, kind, labels)

    def _watch(self, api: str, kind: str) -> None:
        self._cluster._use(api, kind, "list", "watch")


def table(rights: Rights) -> str:
    """Rights by task, as docs/operations.md has them."""
    rows = [f"| `{task}` | {', '.join(_told(used))} |" for task, used in sorted(rights.used.items())]
    return "\n".join(["| task | needs |", "| --- | --- |", *rows])


def _told(used: set[Right]) -> Iterator[str]:
    """By resource its verbs; those on all namespaces apart."""
    for resource, everywhere in sorted({(each.resource, each.everywhere) for each in used}):
        verbs = sorted({each.verb for each in used if each[::3] == (resource, everywhere)})
        yield f"{resource} ({', '.join(verbs)}{'; everywhere' if everywhere else ''})"


def _plural(kind: str) -> str:
    lower = kind.lower()
    if lower.endswith("cy"):
        return f"{lower[:-1]}ies"
    return f"{lower}es" if lower.endswith("s") else f"{lower}s"
