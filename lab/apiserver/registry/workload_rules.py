"""What makes a workload invalid, or a budget of disruptions: selectors, templates, shares of replicas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lab.apiserver.errors import FieldError, forbidden_field, invalid_value, required, unsupported
from lab.apiserver.registry.metadata import label_errors
from lab.apiserver.registry.pod_rules import pod_spec_errors
from lab.apiserver.storage.selectors import matches_label_selector
from lab.apiserver.types.schema import Object

PERCENT = re.compile(r"[0-9]+%")
NOTHING = (0, "0%")
PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
    "used for validation is '[0-9]+%')"
)


def workload_errors(new: Object) -> Iterator[FieldError]:
    spec = new["spec"]
    labels = spec["template"]["metadata"].get("labels") or {}
    selector = spec.get("selector")
    if selector is not None:
        yield from selector_errors(selector, "spec.selector")
        if not selector:
            yield invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
        elif not matches_label_selector(selector, labels):
            text = "`selector` does not match template `labels`"
            yield invalid_value("spec.template.metadata.labels", labels, text)
    yield from label_errors(labels, "spec.template.metadata.labels")
    template = spec["template"]["spec"]
    yield from pod_spec_errors(template, "spec.template.spec")
    if template.get("restartPolicy") in ("OnFailure", "Never"):
        yield unsupported("spec.template.spec.restartPolicy", template["restartPolicy"], ["Always"])


def deployment_errors(new: Object) -> Iterator[FieldError]:
    yield from workload_errors(new)
    spec = new["spec"]
    yield from _strategy_errors(spec["strategy"], "spec.strategy")
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        yield invalid_value("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], text)


def _strategy_errors(strategy: Object, path: str) -> Iterator[FieldError]:
    update: Object = strategy.get("rollingUpdate") or {}
    if strategy["type"] == "Recreate":
        if update:
            text = "may not be specified when strategy `type` is 'Recreate'"
            yield forbidden_field(f"{path}.rollingUpdate", text)
        return
    if strategy["type"] != "RollingUpdate":
        shown = {"Type": strategy["type"], "RollingUpdate": update or None}
        yield unsupported(path, shown, ["Recreate", "RollingUpdate"])
        return
    unavailable, surge = update["maxUnavailable"], update["maxSurge"]
    yield from share_errors(unavailable, f"{path}.rollingUpdate.maxUnavailable")
    yield from share_errors(surge, f"{path}.rollingUpdate.maxSurge", most=None)
    if unavailable in NOTHING and surge in NOTHING:
        text = "may not be 0 when `maxSurge` is 0"
        yield invalid_value(f"{path}.rollingUpdate.maxUnavailable", unavailable, text)


def budget_errors(new: Object) -> Iterator[FieldError]:
    spec = new["spec"]
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        yield invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name, share in (("minAvailable", least), ("maxUnavailable", most)):
        if share is not None:
            yield from share_errors(share, f"spec.{name}")
    yield from selector_errors(spec.get("selector") or {}, "spec.selector")


def share_errors(share: Any, path: str, most: int | None = 100) -> Iterator[FieldError]:
    """A number of replicas or a percentage of them; `most` percent, if that has an end."""
    if isinstance(share, int):
        if share < 0:
            yield invalid_value(path, share, "must be greater than or equal to 0")
    elif not PERCENT.fullmatch(share):
        yield invalid_value(path, share, PERCENT_RULE)
    elif most is not None and int(share[:-1]) > most:
        yield invalid_value(path, share, f"must not be greater than {most}%")


def selector_errors(selector: Object, path: str) -> Iterator[FieldError]:
    yield from label_errors(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for i, term in enumerate(selector.get("matchExpressions") or []):
        values = f"{path}.matchExpressions[{i}].values"
        if term.get("operator") in ("In", "NotIn") and not term.get("values"):
            yield required(values, "must be specified when `operator` is 'In' or 'NotIn'")
        if term.get("operator") in ("Exists", "DoesNotExist") and term.get("values"):
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield forbidden_field(values, text)
