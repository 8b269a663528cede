"""Label selectors: which pods an object chooses, in the shapes in which kinds spell it."""

from __future__ import annotations

from collections.abc import Mapping

from inference_rollouts.core.objects.k8s import K8sObject, part, parts

FIELDS = ("selector", "podSelector", "endpointSelector", "workloadSelector")
"""The fields of a spec that choose pods."""
TERMS = frozenset({"matchLabels", "matchExpressions"})

Labels = Mapping[str, str]


def selector_of(obj: K8sObject) -> K8sObject | None:
    """The LabelSelector by which an object chooses pods; None where it chooses none.

    Services and old InferencePools spell it as bare labels, workload selectors as `labels`.
    """
    spec = part(obj, "spec")
    for field in FIELDS:
        value = spec.get(field)
        if isinstance(value, Mapping):
            return as_selector(value) if value or obj["kind"] != "Service" else None
    return None


def as_selector(value: K8sObject) -> K8sObject:
    """A LabelSelector, from whatever shape it has."""
    if not value or TERMS & value.keys():
        return value
    return {"matchLabels": part(value, "labels") or value}


def selects(selector: K8sObject, labels: Labels) -> bool:
    """Whether a LabelSelector chooses pods with these labels; an empty one chooses all."""
    return part(selector, "matchLabels").items() <= labels.items() and all(
        _holds(each, labels) for each in parts(selector, "matchExpressions")
    )


def spelled(selector: K8sObject) -> str:
    """A selector as people write it: `app=vllm, tier in (gpu, tpu)`."""
    words = [f"{key}={value}" for key, value in part(selector, "matchLabels").items()]
    words += map(_term, parts(selector, "matchExpressions"))
    return ", ".join(words) or "every label"


def _term(expression: K8sObject) -> str:
    values = ", ".join(expression.get("values") or ())
    what = f"{expression.get('key')} {str(expression.get('operator')).lower()}"
    return f"{what} ({values})" if values else what


def _holds(expression: K8sObject, labels: Labels) -> bool:
    key, values = str(expression.get("key")), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def service_labels(service: K8sObject) -> dict[str, str]:
    """The labels by which a Service chooses pods."""
    return {str(key): str(value) for key, value in part(service, "spec", "selector").items()}
