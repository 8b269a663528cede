"""What an autoscaler measures, in words of a metrics store: of which pool, workload or pods.

A copy for the canary that still measures stable would scale the canary by stable's load, and take its pods
away once stable has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference_rollouts.core.objects.k8s import fields_of

Names = Mapping[str, str]
"""Names of stable's, and the canary's in their places."""

# Labels of series that say of which pool, workload or Service something is.
_OF_POOLS = (
    "inference_pool", "inferencepool", "pool", "pool_name", "name", "deployment", "statefulset", "workload",
    "workload_name", "service", "service_name", "kubernetes_service", "target", "app",
    "app_kubernetes_io_name", "app_kubernetes_io_instance",
)  # fmt: skip
_OF_OTHERS = re.compile(
    r"namespace|model|cluster|Ref\b"
)  # what these say may be called like stable, and stays
_OF_PODS = ("pod", "pod_name", "kubernetes_pod_name")
_MATCHER = re.compile(
    r"""(?P<label>\w+)(?P<sign>\s*(?:=~|!~|!=|=)\s*)(?P<quote>["'])(?P<value>[^"']*)(?P=quote)"""
)


_MEASURES = ("metrics", "triggers")


def measuring(value: Any, names: Names) -> Any:
    """A spec, or a part of it, in which what measures stable measures the canary."""
    match value:
        case Mapping():
            return {
                key: _labels(each, names) if key == "matchLabels" else measuring(each, names)
                for key, each in value.items()
            }
        case list() | tuple():
            return [measuring(each, names) for each in value]
        case str():
            return _MATCHER.sub(lambda found: _matched(found, names), value)
        case _:
            return value


def still_named(spec: Any, names: Names) -> Iterator[tuple[str, str]]:
    """Where a name of stable's stands as a word in what is measured, and the text: nobody knows what for."""
    words = "|".join(re.escape(each) for each in sorted(names, key=len, reverse=True))
    alone = re.compile(rf"(?<![\w.:/-])(?:{words})(?![\w:/])(?!-[\w-])")
    for path, value in fields_of({key: spec[key] for key in _MEASURES if key in spec}):
        if names and isinstance(value, str) and not _OF_OTHERS.search(path):
            text = _MATCHER.sub(lambda found: "" if _OF_OTHERS.search(found["label"]) else found[0], value)
            if alone.search(_without_new(text, names)):
                yield path, value


def _labels(labels: Any, names: Names) -> Any:
    """The labels by which an external metric is chosen: Google's begin with what has them."""
    if not isinstance(labels, Mapping):
        return labels
    plain = {key: re.sub(r"\W", "_", str(key).rpartition(".labels.")[2]) for key in labels}
    return {key: _renamed(plain[key], str(each), names) for key, each in labels.items()}


def _matched(found: re.Match[str], names: Names) -> str:
    label, sign, quote, value = found["label"], found["sign"], found["quote"], found["value"]
    return f"{label}{sign}{quote}{_renamed(label, value, names)}{quote}"


def _renamed(label: str, value: str, names: Names) -> str:
    """The value of a label that says of whom a series is; any other as it is."""
    if label in _OF_POOLS and value in names:
        return names[value]
    if label in _OF_PODS:
        whose = [each for each in names if value.startswith(f"{each}-")]
        longest = max(whose, key=len, default="")
        return f"{names[longest]}{value.removeprefix(longest)}" if longest else value
    return value


def _without_new(value: str, names: Names) -> str:
    for each in names.values():
        value = value.replace(each, "")
    return value
