"""What makes an event invalid: little in the core group, much more in events.k8s.io.

Errors name the fields as the core group calls them, whichever group the event came through.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.apiserver.errors import FieldError, invalid_value, required
from lab.apiserver.kinds.conversion import RENAMED_BACK
from lab.apiserver.registry.metadata import qualified_name_errors
from lab.apiserver.types.schema import Object

MOST_CHARACTERS = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}
UNSET = ("firstTimestamp", "lastTimestamp", "count", "source")
"""Fields of the core group that events.k8s.io does not set."""
FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)


def event_errors(new: Object) -> Iterator[FieldError]:
    """Of an event that is created or updated, through either group."""
    event = _core(new)
    namespace = event["metadata"].get("namespace", "")
    about = (event.get("involvedObject") or {}).get("namespace", "")
    if event.get("eventTime"):
        fits = about or namespace in ("default", "kube-system")
    else:
        fits = namespace == (about or "default")
    if not fits:
        yield invalid_value("involvedObject.namespace", about, "does not match event.namespace")
    if event.get("eventTime"):
        yield from _report_errors(event, _controller(new))


def _report_errors(event: Object, controller: str) -> Iterator[FieldError]:
    """Who reports, of what action, for which reason: events with an `eventTime` say so."""
    reporter = event.get("reportingComponent") or ""
    if not reporter:
        yield required(controller)
    yield from qualified_name_errors(reporter, controller)
    for name, most in MOST_CHARACTERS.items():
        text = event.get(name) or ""
        if not text and name != "message":
            yield required(name)
        if len(text.encode()) > most:
            yield invalid_value(name, "", f"can have at most {most} characters")


def creation_errors(new: Object) -> Iterator[FieldError]:
    """Of an event that is created through events.k8s.io, beside those of every event."""
    event = _core(new)
    yield from _series_errors(event)
    if not event.get("eventTime"):
        yield required("eventTime")
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid_value("type", "", f"has invalid value: {event.get('type', '')}")
    for name in UNSET:
        if event.get(name):
            yield invalid_value(name, "", "needs to be unset")


def update_errors(new: Object, old: Object) -> Iterator[FieldError]:
    """Of an update through events.k8s.io: only the series goes on."""
    after, before = _core(new), _core(old)
    if after.get("series") != before.get("series"):
        yield from _series_errors(after)
    for name in FIXED:
        if (after.get(name) or None) != (before.get(name) or None):
            shown = _controller(new) if name == "reportingComponent" else name
            yield invalid_value(shown, after.get(name), "field is immutable")


def _series_errors(event: Object) -> Iterator[FieldError]:
    series = event.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:
        yield invalid_value("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")


def _core(event: Object) -> Object:
    """The event in the words of the core group."""
    return {RENAMED_BACK.get(key, key): value for key, value in event.items()}


def _controller(event: Object) -> str:
    return "reportingComponent" if event["apiVersion"] == "v1" else "reportingController"
