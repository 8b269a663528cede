"""Can a pool take traffic now? One answer for whoever raises, judges or goes back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picker:
    """A pool's endpoint picker: its Service, whether that is there, and its ready pods.

    `fail_close`: without a ready one the gateway drops all requests of the pool.
    """

    service: str
    found: bool
    ready: int
    fail_close: bool


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a pool can take traffic now, and its ready pods.

    `sentence` says what is wrong; of an available pool it is a warning. Empty: nothing is.
    """

    available: bool
    pods: int
    sentence: str = ""


def availability(pool: str, pods: int, picker: Picker | None, needed: int = 1) -> Availability:
    """The answer for a pool with so many ready pods; `needed` carry the traffic that it is to take.

    A picker that is None is none that the pool refers to.
    """
    if not pods:
        return Availability(False, 0, f"{pool} has no ready pods.")
    down = picker is not None and not picker.ready
    if picker and down and picker.fail_close:
        return Availability(
            False, pods, f"{_outage(pool, picker)}, and its failure mode FailClose drops all requests."
        )
    if pods < needed:
        count = f"{pods} ready pod{'' if pods == 1 else 's'}"
        return Availability(False, pods, f"{pool} has {count}, {needed} needed for the traffic.")
    if picker and down:
        effect = "so requests reach any pod, and names of models are not rewritten"
        return Availability(True, pods, f"{_outage(pool, picker)}, {effect}.")
    return Availability(True, pods)


def _outage(pool: str, picker: Picker) -> str:
    missing = "" if picker.found else f" (there is no Service {picker.service})"
    return f"The endpoint picker {picker.service} of {pool} has no ready pod{missing}"
