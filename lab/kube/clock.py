"""Timestamps as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from lab.kube.objects import Obj


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """RFC 3339 in whole seconds (`metav1.Time`)."""
    return (moment or now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """A `metav1.Time` or `MicroTime`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def age(text: str, moment: datetime) -> float:
    """Seconds from the timestamp `text` to `moment`."""
    return (moment - parse(text)).total_seconds()


def created(obj: Obj) -> str:
    """A sort key: when the object was created, by name among those of the same second."""
    metadata = obj["metadata"]
    return f"{metadata.get('creationTimestamp', '')} {metadata['name']}"
