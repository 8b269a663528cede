"""Who may do what: roles, cluster roles and their bindings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lab.apiserver.access.auth import User
from lab.apiserver.errors import ApiError, forbidden
from lab.apiserver.kinds.builtin import DATA
from lab.apiserver.storage.store import Store
from lab.apiserver.types.schema import Object

GROUP = "rbac.authorization.k8s.io"
KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
EVERYTHING: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
EVERYWHERE: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}


@dataclass(frozen=True)
class Action:
    """What somebody wants to do: on a resource, or on a path if `path` is set."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def target(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass
class Authorizer:
    """Answers from the roles and bindings in the store; `forget` after any of them changed."""

    store: Store
    _rules: dict[tuple[User, str], list[Object]] = field(default_factory=dict)

    def forget(self) -> None:
        self._rules.clear()

    def allows(self, user: User, action: Action) -> bool:
        if user.is_master:
            return True
        return any(_permits(rule, action) for rule in self.rules(user, action.namespace))

    def demand(self, user: User, action: Action) -> None:
        """Raises ApiError 403."""
        if self.allows(user, action):
            return
        who = f'User "{user.name}" cannot {action.verb}'
        if action.path:
            raise ApiError(403, "Forbidden", f'forbidden: {who} path "{action.path}"', {})
        place = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
        why = f'{who} resource "{action.target}" in API group "{action.group}" {place}'
        raise forbidden(action.resource, action.group, action.name, why)

    def rules(self, user: User, namespace: str) -> list[Object]:
        """Every rule that speaks for a user in a namespace, or cluster-wide if none is given."""
        if user.is_master:
            return [EVERYTHING, EVERYWHERE]
        key = (user, namespace)
        if key not in self._rules:
            self._rules[key] = list(self._granted(user, namespace))
        return self._rules[key]

    def _granted(self, user: User, namespace: str) -> Iterator[Object]:
        for binding in self._objects("clusterrolebindings"):
            if _binds(binding, user, ""):
                yield from self._role("clusterroles", "", binding["roleRef"]["name"])
        for binding in self._objects("rolebindings", namespace) if namespace else ():
            if _binds(binding, user, namespace):
                reference = binding["roleRef"]
                local = reference["kind"] == "Role"
                table = "roles" if local else "clusterroles"
                yield from self._role(table, namespace if local else "", reference["name"])

    def _objects(self, plural: str, namespace: str = "") -> Iterator[Object]:
        for entry in self.store.select(f"{plural}.{GROUP}", namespace):
            yield entry.object()

    def _role(self, plural: str, namespace: str, name: str) -> list[Object]:
        entry = self.store.get(f"{plural}.{GROUP}", namespace, name)
        rules: list[Object] = (entry.object().get("rules") or []) if entry else []
        return rules


def _binds(binding: Object, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            name = f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
        if name in user.groups if kind == "Group" else name == user.name:
            return True
    return False


def _permits(rule: Object, action: Action) -> bool:
    if not _has(rule["verbs"], action.verb):
        return False
    if action.path:
        return any(_covers(pattern, action.path) for pattern in rule.get("nonResourceURLs") or [])
    names = rule.get("resourceNames") or []
    return (
        _has(rule.get("apiGroups"), action.group)
        and _has_target(rule.get("resources") or [], action)
        and (not names or action.name in names)
    )


def _has(items: Any, wanted: str) -> bool:
    return "*" in (items or ()) or wanted in (items or ())


def _has_target(resources: list[str], action: Action) -> bool:
    if "*" in resources or action.target in resources:
        return True
    return bool(action.subresource) and f"*/{action.subresource}" in resources


def _covers(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def first_roles() -> Iterator[tuple[str, Object]]:
    """The cluster roles that every cluster has, and their bindings, each with its plural."""
    for role in yaml.load((DATA / "roles.yaml").read_text(), yaml.CSafeLoader):
        subjects = role.pop("subjects", None)
        role["metadata"]["labels"] = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        yield "clusterroles", role
        if subjects:
            reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role["metadata"]["name"]}
            yield (
                "clusterrolebindings",
                {"metadata": dict(role["metadata"]), "roleRef": reference, "subjects": subjects},
            )
