"""Proves the laws of moving traffic at length, and that they are laws: `make prove`.

Thousands of schedules of tasks and accidents break none of them. Then the code is broken on purpose, a mutant
at a time, and each mutant must break a law within some schedules.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from tests.support.traffic_machine import TrafficMachine, schedules

ROUTING, ROLLOUT = "inference_rollouts.core.routing", "inference_rollouts.rollout"
MUTANTS: dict[str, dict[str, object]] = {
    "without the fence": {f"{ROUTING}.patches._still_claimed": lambda obj: [],
                          f"{ROUTING}.patches._test": None},
    "without the permission": {f"{ROLLOUT}.traffic.require_raise": lambda *_: None},
    "without its own step in the permission": {f"{ROUTING}.permission.permits": lambda claim: claim.verdict},
    "without the phase": {f"{ROLLOUT}.traffic.require_progressing": lambda *_: None,
                          f"{ROUTING}.permission.require_progressing": lambda *_: None},
    "without the promotion's permission": {f"{ROLLOUT}.traffic.require_promotion": lambda *_: None},
    "without marks": {f"{ROLLOUT}.way_back.WayBack._mark": lambda *_: None},
    "without reading back": {f"{ROLLOUT}.way_back.ended": lambda *_: None},
    "without what others made of a rule": {f"{ROUTING}.patches.strays": lambda *_: []},
    "without a look at what others set": {f"{ROLLOUT}.bring_back._lost": lambda *_: "",
                                          f"{ROLLOUT}.guardian.RouteDrift": KeyError},
    "leases of any time": {f"{ROUTING}.watch.Watch.is_fresh": lambda watch, now: now < watch.until},
    "rules by their place": {f"{ROUTING}.drift.rules_like": lambda obj, name, matches: ["/spec/rules/1"]},
}  # fmt: skip


def survives(number: int) -> bool:
    """Whether so many schedules break no law."""
    how = schedules(number, phases=[Phase.generate], report_multiple_bugs=False)
    try:
        run_state_machine_as_test(TrafficMachine, settings=how)
    except Exception:
        return False
    return True


@contextmanager
def mutated(changes: dict[str, object]) -> Iterator[None]:
    """The code with some functions replaced."""
    name, *rest = changes
    change = changes[name]
    replacement = change if change is not None else _no_test
    with patch(name, replacement):
        if rest:
            with mutated({each: changes[each] for each in rest}):
                yield
        else:
            yield


def _no_test(path: str, value: object) -> dict[str, object]:
    """A test that always holds: JSON patch has none, so it adds nothing to what is there."""
    return {"op": "nothing", "path": path}


def main() -> int:
    """0 when no schedule breaks a law and every mutant breaks one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--mutants", type=int, default=2_000, help="schedules within which each is found")
    given = parser.parse_args()
    logging.disable()
    began = time.monotonic()
    sound = survives(given.schedules)
    print(f"{given.schedules} schedules: {'no law broken' if sound else 'A LAW IS BROKEN'}", flush=True)
    alive = []
    for name, changes in MUTANTS.items():
        with mutated(changes):
            caught = not survives(given.mutants)
        print(f"mutant {name}: {'found' if caught else 'NOT FOUND'}", flush=True)
        alive += [] if caught else [name]
    print(f"in {time.monotonic() - began:.0f} s")
    return int(not sound or bool(alive))


if __name__ == "__main__":
    sys.exit(main())
