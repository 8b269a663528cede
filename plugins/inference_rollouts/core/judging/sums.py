"""The running sums of a judgement: each window of a step is folded in once, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging import running
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.overdispersion import Scattered, kept, resumed
from inference_rollouts.core.judging.policy import STORM_WINDOWS, Policy, StepContext
from inference_rollouts.core.judging.reference import Reference, reference_of
from inference_rollouts.core.judging.rules import Rules, rules_of
from inference_rollouts.core.judging.running import Running
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts

START = 0.75  # of the prior weight: most bad canaries are bad from the start

_Counted = tuple[NDArray[np.int64], NDArray[np.int64], Scattered]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What all windows of a step, and the steps before, amount to.

    `n` and `bad` are totals of this step: (canary, stable) x cells. `unbegun` is the prior weight of onsets
    to come, `reference` stands in for stable where it has no traffic. `seen`: when an arm (0 canary, 1
    stable) last exported a metric; `heard`: the end of the last window in which canary and stable got
    requests; `counted`: of the last in which each metric set was there. `seconds` were counted in this step,
    `earlier` before the judge was resumed; `crashes` were in the steps before. `errors` are the latest counts
    of each set's errors, as many as a storm takes.
    """

    rules: Rules
    step: StepContext
    begun: int
    running: Running
    unbegun: float
    reference: Reference | None
    stable: tuple[tuple[int, ...], ...]
    n: NDArray[np.int64]
    bad: NDArray[np.int64]
    heard: tuple[float, float]
    counted: tuple[float, ...]
    seen: Mapping[tuple[int, str], float] = field(default_factory=dict)
    seconds: float = 0.0
    earlier: float = 0.0
    crashes: int = 0
    last: WindowCounts | None = None
    errors: Mapping[str, tuple[Counts, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """`log_e`: ln E of each test (comparisons, then objectives) against the canary, over the whole rollout;
    `log_good`: ln E that each metric is good enough, empty where promotion does not ask for it yet."""

    log_e: Array
    log_good: Mapping[str, float]


def begin(policy: Policy, metric_set: MetricSet, step: StepContext, carried: Carried) -> Sums:
    """A step's sums before its first window. Raises ValueError when `carried` is of other rules."""
    rules = rules_of(policy, metric_set)
    cells = len(rules.cells)
    state = running.next_step(_resumed(running.nothing_seen(rules), carried), rules)
    begun = carried.steps + (0 if step.resumed else 1)
    if begun > step.steps:
        raise ValueError(f"all {step.steps} steps of the plan have been judged already")
    return Sums(
        rules=rules,
        step=step,
        begun=begun,
        running=state,
        unbegun=carried.unbegun,
        reference=None if step.compared else reference_of(carried.stable, state.dispersion),
        stable=carried.stable,
        n=np.zeros((2, cells), dtype=np.int64),
        bad=np.zeros((2, cells), dtype=np.int64),
        heard=(step.anchor, step.anchor),
        counted=(step.anchor,) * len(metric_set.sets),
        earlier=carried.baked if step.resumed else 0.0,
        crashes=carried.crashes,
    )


def _resumed(empty: Running, carried: Carried) -> Running:
    """Nothing seen, with what the steps before have left."""
    cells = empty.kappa.size
    dispersion = resumed(carried.dispersion, cells)
    if not carried.steps:
        return empty
    alarm = np.array([[-np.inf if w is None else w for w in row] for row in carried.alarm])
    if alarm.shape != empty.alarm.shape or len(carried.good) != empty.good.size:
        raise ValueError("the evidence of the earlier steps is of another policy or metric set")
    good = np.array(carried.good).reshape(empty.good.shape)
    counted = np.array(carried.counted, dtype=np.int64)
    return replace(empty, alarm=alarm, good=good, counted=counted, dispersion=dispersion)


def at_start(whole: float) -> float:
    """Prior weight of a canary that is bad from the start, in a plan that bakes for `whole` seconds."""
    return START if whole else 1.0


def onset(unbegun: float, bake: float, whole: float, start: float, end: float) -> float:
    """Prior weight of a canary that turns bad between two times of a step (s of its `bake`).

    What is not for the start of the rollout is spread evenly over the bake time of the `whole` plan. In the
    first window, when all is `unbegun`, what is for the start comes with it.
    """
    spread = (1 - START) * (min(end, bake) - min(start, bake)) / whole if whole else 0.0
    return at_start(whole) * (unbegun == 1.0) + spread


def absorb(sums: Sums, window: WindowCounts) -> Sums:
    """The sums after one more window."""
    return absorb_all([(sums, window)])[0]


def absorb_all(windows: Sequence[tuple[Sums, WindowCounts]]) -> list[Sums]:
    """The sums of several rollouts, each after one more window: those with the same rules in one go."""
    after: dict[int, Sums] = {}
    for places in _alike([sums for sums, _ in windows]):
        together = [windows[place] for place in places]
        after.update(zip(places, _absorbed(*map(list, zip(*together, strict=True))), strict=True))
    return [after[place] for place in range(len(windows))]


def _alike(sums: Sequence[Sums]) -> list[list[int]]:
    """Places of those that can be worked out together: with the same rules, and stable beside the canary."""
    groups: dict[object, list[int]] = {}
    for place, each in enumerate(sums):
        groups.setdefault(id(each.rules) if each.step.compared else -place, []).append(place)
    return list(groups.values())


def _absorbed(sums: list[Sums], windows: list[WindowCounts]) -> list[Sums]:
    """Of rollouts that are alike."""
    rules, reference = sums[0].rules, sums[0].reference
    n, bad, scattered = _arrays(rules, windows)
    seconds = np.array([window.end - window.start for window in windows])
    masses = [_mass(each, length) for each, length in zip(sums, seconds.tolist(), strict=True)]
    state = running.joined([each.running for each in sums])
    if reference is None:
        counted = running.with_window(state.counted, n, bad)
        begun = running.with_onset(state, rules, np.array(masses), counted)
        states = running.parted(running.fold(begun, rules, n, bad, scattered, seconds))
    else:
        begun = running.with_onset(state, rules, np.array(masses), state.counted)
        [alone], before, now = running.parted(begun), (sums[0].n[0], sums[0].bad[0]), (n[0, 0], bad[0, 0])
        states = [reference.fold(alone, rules, np.stack(before), np.stack(now), float(seconds[0]))]
    return [
        replace(
            each,
            running=state,
            unbegun=max(each.unbegun - mass, 0.0),
            n=each.n + n[:, place],
            bad=each.bad + bad[:, place],
            heard=_heard(each, window),
            counted=_counted(each, window),
            seen={**each.seen, **_exported(window)},
            seconds=each.seconds + window.end - window.start,
            last=window,
            errors=_errors(each, window),
        )
        for place, (each, window, state, mass) in enumerate(zip(sums, windows, states, masses, strict=True))
    ]


def _mass(sums: Sums, seconds: float) -> float:
    """Prior weight of the onsets in so many more seconds of the step."""
    done = sums.earlier + sums.seconds
    return onset(sums.unbegun, sums.step.bake, sums.step.whole, done, done + seconds)


def carried_of(sums: Sums, crashes: int) -> Carried:
    """What the next step needs to know; `crashes` were in this one."""
    state = sums.running
    alarm = [[None if w == -np.inf else w for w in row] for row in state.alarm.round(9).tolist()]
    stable = sums.n[1].tolist(), sums.bad[1].tolist()
    return Carried(
        steps=sums.begun,
        alarm=tuple(map(tuple, alarm)),
        good=tuple(state.good.round(6).ravel().tolist()),
        counted=tuple(map(tuple, state.counted.tolist())),
        dispersion=kept(state.dispersion),
        unbegun=round(sums.unbegun, 12),
        baked=sums.earlier + sums.seconds,
        stable=tuple(map(tuple, stable)) if sums.step.compared else sums.stable,
        crashes=sums.crashes + crashes,
    )


def evidence_of(sums: Sums) -> Evidence:
    """What the sums of a rollout say."""
    return evidence_of_all([sums])[0]


def evidence_of_all(sums: Sequence[Sums]) -> list[Evidence]:
    """Of several rollouts: of those with the same rules in one go."""
    found: dict[int, Evidence] = {}
    for places in _alike(sums):
        together = [sums[place] for place in places]
        rules, states = together[0].rules, running.joined([each.running for each in together])
        alone = not together[0].step.compared and together[0].reference is None
        unbegun = np.array([each.unbegun for each in together])
        log_e = running.log_evidence(states, rules, unbegun, alone=alone)
        asks = [each.step.last_compared and rules.policy.margin is not None for each in together]
        good = running.log_goodness(states, rules) if any(asks) else {}
        for row, place in enumerate(places):
            log_good = {name: float(values[row]) for name, values in good.items()} if asks[row] else {}
            found[place] = Evidence(log_e[row], log_good)
    return [found[place] for place in range(len(sums))]


def objectives_broken(sums: Sums) -> Array:
    """ln E that the canary breaks each objective, whatever stable does."""
    return running.objectives_broken(sums.running, sums.rules, np.array(sums.unbegun))


def totals(sums: Sums, arm: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Events and bad events of one arm (0 canary, 1 stable) in this step, by metric."""
    n, bad = sums.n[arm].tolist(), sums.bad[arm].tolist()
    return {name: (n[place.start], tuple(bad[place])) for name, place in sums.rules.places.items()}


def _heard(sums: Sums, window: WindowCounts) -> tuple[float, float]:
    counts = window.counts.get(sums.rules.metric_set.errors)
    if counts is None:
        return sums.heard
    canary, stable = sums.heard
    return window.end if counts.canary.n else canary, window.end if counts.stable.n else stable


def _errors(sums: Sums, window: WindowCounts) -> dict[str, tuple[Counts, ...]]:
    latest = dict(sums.errors)
    for name in (each.errors for each in sums.rules.metric_set.sets):
        if counts := window.counts.get(name):
            latest[name] = (*latest.get(name, ()), counts)[-STORM_WINDOWS:]
    return latest


def _counted(sums: Sums, window: WindowCounts) -> tuple[float, ...]:
    present = (
        any(metric.name in window.counts for metric in each.metrics) for each in sums.rules.metric_set.sets
    )
    return tuple(window.end if now else before for now, before in zip(present, sums.counted, strict=True))


def _exported(window: WindowCounts) -> dict[tuple[int, str], float]:
    arms = ((arm, name, (c.canary, c.stable)[arm]) for name, c in window.counts.items() for arm in (0, 1))
    return {(arm, name): window.end for arm, name, counts in arms if counts.pods}


def _arrays(rules: Rules, windows: Sequence[WindowCounts]) -> _Counted:
    """Events and bad events, (canary, stable) x windows x cells, and how their pods scatter."""
    n: tuple[list[list[int]], ...] = ([[] for _ in windows], [[] for _ in windows])
    bad: tuple[list[list[int]], ...] = ([[] for _ in windows], [[] for _ in windows])
    scattered: list[list[list[float]]] = [[[] for _ in windows] for _ in fields(Scattered)]
    for row, window in enumerate(windows):
        for name, place in rules.places.items():
            width = place.stop - place.start
            counts = window.counts.get(name) or _nothing(width)
            for arm, own in enumerate((counts.canary, counts.stable)):
                n[arm][row].extend([own.n] * width)
                bad[arm][row].extend(own.bad)
            stable = counts.chi2, counts.df, counts.lasting_chi2, counts.lasting_df
            canary = counts.canary_chi2, counts.canary_df
            for rows, each in zip(scattered, (*stable, *canary), strict=True):
                rows[row].extend(each)
    floats = Scattered(*(np.array(rows, dtype=np.float64) for rows in scattered))
    return np.array(n, dtype=np.int64), np.array(bad, dtype=np.int64), floats


def _nothing(cells: int) -> Counts:
    arm = ArmCounts(n=0, bad=(0,) * cells, pods=0)
    zeros, none = (0.0,) * cells, (0,) * cells
    return Counts(
        canary=arm,
        stable=arm,
        chi2=zeros,
        df=none,
        lasting_chi2=zeros,
        lasting_df=none,
        canary_chi2=zeros,
        canary_df=none,
    )
