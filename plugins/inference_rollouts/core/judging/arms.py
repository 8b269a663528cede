"""The two sides of a comparison, as labels of series, and how a pool becomes the value of a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from inference_rollouts.core.judging.promql import LABEL, words_pattern
from inference_rollouts.core.values import Value

Labels = tuple[tuple[str, str], ...]
"""Names and values, all of which a series must have."""
Ports = tuple[tuple[str, ...], ...]
"""The ports of a pod that are servers of their own, each as metrics may call it, its number first."""

TELLING = _ADDRESS, _ENDPOINT = "instance", "endpoint"
"""The labels that tell the servers of a pod apart."""
TOLD = f"by the port at the end of `{_ADDRESS}`, or by `{_ENDPOINT}`"

_PARTS = re.compile(r"(?:[^{}\x00-\x1f\x7f]|\{namespace\}|\{pool\})+")
_NO_WORD = re.compile(r"[A-Za-z0-9}*]\*|\*[A-Za-z0-9{]")


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the comparison: the series whose `label` has `value` (in `namespace`, if given).

    A `*` in the value stands for one word of letters and digits. Two adapters share the process that counts
    them, so its start time has no such label: `process` are the labels by which it is known instead (put on
    when scraping), `request` further ones of its counters. `ports`: where a pod has a server at each of
    several. `home`: labels that tell its series from those of other clusters.
    """

    label: str
    value: str
    namespace: str | None = None
    process: Labels = ()
    request: Labels = ()
    ports: Ports = ()
    home: Labels = ()

    def server_of(self, labels: Iterable[tuple[str, str]]) -> str:
        """The port of the server that a target with these labels is; empty where it has one server alone, and
        where the labels do not tell: neither the end of `instance`, an address, nor `endpoint`, a name."""
        return _port_in(dict(labels), self.ports) if self.ports else ""

    def has(self, value: str) -> bool:
        """Whether a series with this value of the label is one of the arm's."""
        return re.fullmatch(words_pattern(self.value), value) is not None


def server_in(labels: Mapping[str, str], ports: Ports, pod: str) -> str:
    """The server that has these labels, by its name: a pod (label `pod`), with its port where it has several
    that are told apart."""
    port = _port_in(labels, ports)
    return ":".join(filter(None, (labels.get(pod, ""), port)))


def server_names(pod: str, ports: Ports) -> list[str]:
    """Those of a pod's servers: its own where it has one alone."""
    return [f"{pod}:{port[0]}" for port in ports] or [pod]


def _port_in(labels: Mapping[str, str], ports: Ports) -> str:
    said = labels.get(_ADDRESS, "").rpartition(":")[2], labels.get(_ENDPOINT, "")
    return next((port[0] for each in said for port in ports if each in port), "")


def as_ports(value: Iterable[Iterable[Any]]) -> Ports:
    """From parsed JSON."""
    return tuple(tuple(str(each) for each in port) for port in value)


def _template(text: str) -> str:
    if not _PARTS.fullmatch(text) or "{pool}" not in text:
        raise ValueError(f"{text!r} must have {{pool}}, may have {{namespace}}, and no other braces")
    if _NO_WORD.search(text):
        raise ValueError(f"in {text!r} a `*` stands for a whole word, so signs must be on both sides of it")
    return text


class ArmTemplate(Value):
    """How the exporters call a pool: the series whose `label` has a value made from its name.

    `value` is text with `{pool}` and, if need be, `{namespace}`; a `*` stands for one word of letters and
    digits that nobody knows beforehand, such as a hash or a port.
    """

    label: Annotated[str, Field(pattern=f"^{LABEL}$")]
    value: Annotated[str, Field(max_length=253), AfterValidator(_template)]

    def of(self, pool: Arm) -> Arm:
        """The arm of a pool that is known by its name and namespace."""
        value = self.value.replace("{namespace}", pool.namespace or "").replace("{pool}", pool.value)
        return Arm(self.label, value)
