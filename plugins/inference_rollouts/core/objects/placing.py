"""On which nodes a pod may run: by its nodeSelector and required affinity, beside which pods, spread how far.

As the scheduler has it, of what is required alone. What cannot be known here is not held against a node:
labels of namespaces, nodes that were not listed, and labels that controllers give pods (`matchLabelKeys`),
which none of those that are there has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inference_rollouts.core.objects.k8s import K8sObject, part, parts
from inference_rollouts.core.objects.selectors import selects

Domain = tuple[str, str]
"""A topology key, and its value."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def may_run_on(node: K8sObject, pod: K8sObject) -> bool:
    """Whether a pod's nodeSelector and required node affinity choose a node; `pod` may be a template."""
    labels = part(node, "metadata", "labels")
    if not part(pod, "spec", "nodeSelector").items() <= labels.items():
        return False
    required = part(pod, "spec", "affinity", "nodeAffinity").get(_REQUIRED)
    terms = parts(required, "nodeSelectorTerms") if isinstance(required, Mapping) else None
    return terms is None or any(_is_met(term, node) for term in terms)


def tolerates(toleration: K8sObject, taint: K8sObject) -> bool:
    """Whether a pod with a toleration may be where a taint is."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    same = toleration.get("key") == taint.get("key")
    return same and (toleration.get("value") or "") == (taint.get("value") or "")


def _keeps_off(taint: K8sObject, pod: K8sObject) -> bool:
    """That of a resource for which a pod asks does not: Kubernetes gives it that toleration."""
    asked = {name for each in parts(pod, "spec", "containers") for name in part(each, "resources", "limits")}
    lets = any(tolerates(each, taint) for each in parts(pod, "spec", "tolerations"))
    return taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") not in asked and not lets


def _is_met(term: K8sObject, node: K8sObject) -> bool:
    """An empty term chooses nothing."""
    fields = {"metadata.name": node["metadata"]["name"]}
    labels = part(node, "metadata", "labels")
    wanted = [(each, labels) for each in parts(term, "matchExpressions")]
    wanted += [(each, fields) for each in parts(term, "matchFields")]
    return bool(wanted) and all(_holds(each, values) for each, values in wanted)


def _holds(expression: K8sObject, labels: Mapping[str, str]) -> bool:
    operator, key = expression.get("operator"), str(expression.get("key"))
    if operator not in ("Gt", "Lt"):
        return selects({"matchExpressions": [expression]}, labels)
    try:
        here, bound = int(labels.get(key, "")), int((expression.get("values") or [""])[0])
    except ValueError:
        return False
    return here > bound if operator == "Gt" else here < bound


@dataclass(frozen=True, slots=True)
class _Term:
    """Of a pod's rules: the pods that count, where, and of which topology."""

    selector: K8sObject
    key: str
    namespaces: frozenset[str] | None  # None: all

    def counts(self, pod: K8sObject) -> bool:
        """Whether a pod is one of those."""
        there = part(pod, "metadata")
        if self.namespaces is not None and there.get("namespace") not in self.namespaces:
            return False
        return selects(self.selector, there.get("labels") or {})


def _terms(pod: K8sObject, kind: str, namespace: str) -> Iterator[_Term]:
    """Required ones of podAffinity or podAntiAffinity."""
    for each in parts(pod, "spec", "affinity", kind, _REQUIRED):
        everywhere = each.get("namespaceSelector") == {}
        named = frozenset(each.get("namespaces") or [namespace])
        selector = each.get("labelSelector")
        if isinstance(selector, Mapping) and not each.get("matchLabelKeys"):
            yield _Term(selector, str(each.get("topologyKey")), None if everywhere else named)


@dataclass(frozen=True, slots=True)
class _Spread:
    """A constraint by which pods that count are spread over the domains of a key."""

    term: _Term
    most: int  # of a domain, beyond the least
    new: bool  # no pod that is there already counts
    anywhere: bool  # nodes count on which the pod may not run
    tolerant: bool  # nodes count whose taints keep it off

    def counts_on(self, node: K8sObject, pod: K8sObject) -> bool:
        """Whether a node, and the pods there, count."""
        if not self.tolerant and any(_keeps_off(taint, pod) for taint in parts(node, "spec", "taints")):
            return False
        return self.anywhere or may_run_on(node, pod)


def _spreads(pod: K8sObject, namespace: str) -> Iterator[_Spread]:
    for each in parts(pod, "spec", "topologySpreadConstraints"):
        if each.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        selector = each.get("labelSelector")
        if isinstance(selector, Mapping):
            term = _Term(selector, str(each.get("topologyKey")), frozenset([namespace]))
            yield _Spread(
                term,
                int(each.get("maxSkew") or 1),
                new=bool(each.get("matchLabelKeys")),
                anywhere=each.get("nodeAffinityPolicy") == "Ignore",
                tolerant=each.get("nodeTaintsPolicy") != "Honor",
            )


@dataclass(slots=True)
class Rooms:
    """Nodes with the pods on them, among which more are placed, one after the other.

    `pods` have run on the `nodes` before: by the name of their node.
    """

    nodes: Sequence[K8sObject]
    pods: Sequence[K8sObject]
    _placed: list[tuple[K8sObject, K8sObject]] = field(default_factory=list)
    _wary: list[tuple[K8sObject, K8sObject]] = field(
        default_factory=list
    )  # those that let not all beside them

    def __post_init__(self) -> None:
        by_name = {node["metadata"]["name"]: node for node in self.nodes}
        for pod in self.pods:
            if (node := by_name.get(str(part(pod, "spec").get("nodeName")))) is not None:
                self._put(pod, node)

    def _put(self, pod: K8sObject, node: K8sObject) -> None:
        self._placed.append((pod, node))
        if parts(pod, "spec", "affinity", "podAntiAffinity", _REQUIRED):
            self._wary.append((pod, node))

    def place(self, pod: K8sObject, candidates: Sequence[K8sObject]) -> K8sObject | None:
        """The node that a pod (of a namespace) gets among `candidates`, the first of those where fewest like
        it are; None where its rules, or others', let it on none."""
        namespace = str(part(pod, "metadata").get("namespace"))
        allowed = self._without_foes(pod, namespace, candidates)
        allowed = self._beside_friends(pod, namespace, allowed)
        for spread in _spreads(pod, namespace):
            allowed = self._evenly(pod, spread, allowed)
        if not allowed:
            return None
        self._put(pod, allowed[0])
        return allowed[0]

    def _domains(
        self, term: _Term, *, of: Sequence[tuple[K8sObject, K8sObject]] | None = None
    ) -> Counter[str]:
        """How many of the pods that count are in each domain."""
        placed = self._placed if of is None else of
        return Counter(
            value
            for pod, node in placed
            if (value := _value(node, term.key)) is not None and term.counts(pod)
        )

    def _without_foes(
        self, pod: K8sObject, namespace: str, candidates: Sequence[K8sObject]
    ) -> list[K8sObject]:
        taken: set[Domain] = set()
        for term in _terms(pod, "podAntiAffinity", namespace):
            taken |= {(term.key, value) for value in self._domains(term)}
        for other, node in self._wary:
            theirs = str(part(other, "metadata").get("namespace"))
            for term in _terms(other, "podAntiAffinity", theirs):
                if (value := _value(node, term.key)) is not None and term.counts(pod):
                    taken.add((term.key, value))
        return [node for node in candidates if not any(_value(node, key) == value for key, value in taken)]

    def _beside_friends(
        self, pod: K8sObject, namespace: str, candidates: Sequence[K8sObject]
    ) -> list[K8sObject]:
        allowed = list(candidates)
        for term in _terms(pod, "podAffinity", namespace):
            domains = self._domains(term)
            if domains or not term.counts(pod):  # the first of its own kind may be anywhere
                allowed = [node for node in allowed if _value(node, term.key) in domains]
        return allowed

    def _evenly(self, pod: K8sObject, spread: _Spread, candidates: Sequence[K8sObject]) -> list[K8sObject]:
        key, term = spread.term.key, spread.term
        counting = [node for node in self.nodes if spread.counts_on(node, pod)]
        names = {node["metadata"]["name"] for node in counting}
        there = [each for each in self._placed if each[0] is pod or not spread.new]
        counts = self._domains(term, of=[each for each in there if each[1]["metadata"]["name"] in names])
        values = {_value(node, key) for node in counting} - {None}
        least = min((counts[str(value)] for value in values), default=0)
        own = term.counts(pod)
        allowed = [
            node
            for node in candidates
            if (value := _value(node, key)) is not None and counts[value] + own - least <= spread.most
        ]
        return sorted(allowed, key=lambda node: counts[str(_value(node, key))])


def _value(node: K8sObject, key: str) -> str | None:
    value = part(node, "metadata", "labels").get(key)
    return None if value is None else str(value)
