"""Our judge for many rollouts at once, from the same parts as `inference_rollouts.core.judging.sums`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.traffic import DELAY, SECONDS, Array, Stream
from inference_rollouts.core.judging import running
from inference_rollouts.core.judging.overdispersion import Scattered
from inference_rollouts.core.judging.rules import Rules
from inference_rollouts.core.judging.sums import onset


@dataclass(frozen=True, slots=True)
class Seen:
    """After every window: ln E against the canary of all tests and of each, and ln E for it of each judged
    metric, over what is needed (0: enough; before the last step has baked, minus infinity). Rollouts x
    windows (x ...)."""

    total: Array
    tests: Array
    good: Array


def judged(stream: Stream, rules: Rules) -> Seen:
    """What the shipped policy makes of a stream."""
    layout = stream.scenario.layout
    rollouts, windows = stream.n.shape[1:3]
    bakes = [minutes * 60.0 - DELAY * SECONDS for minutes in layout.minutes]
    whole = sum(bakes)
    state, left = running.nothing_seen(rules, rollouts), 1.0
    names = [metric.name for metric in rules.metric_set.compared]
    total, good = (
        np.empty((rollouts, windows)),
        np.full((rollouts, windows, len(names)), -np.inf),
    )
    tests = np.empty((rollouts, windows, len(rules.weights)))
    step_of, before = layout.step, -1
    needed = np.log(1 / rules.policy.beta)
    for t in range(windows):
        step = int(step_of[t])
        if step != before:
            state, before, done = running.next_step(state, rules), step, 0.0
        if layout.counted[t]:
            mass = onset(left, bakes[step], whole, done, done + SECONDS)
            done, left = done + SECONDS, left - mass
            n, bad = stream.n[:, :, t], stream.bad[:, :, t]
            counted = running.with_window(state.counted, n, bad)
            state = running.with_onset(state, rules, np.array(mass), counted)
            at = (slice(None), t)
            stable = stream.chi2, stream.df, stream.lasting_chi2, stream.lasting_df
            scattered = Scattered(*(e[at] for e in (*stable, stream.canary_chi2, stream.canary_df)))
            state = running.fold(state, rules, n, bad, scattered, np.array(SECONDS))
        log_e = running.log_evidence(state, rules, np.array(max(left, 0.0)))
        tests[:, t], total[:, t] = log_e, running.log_total(log_e, rules)
        if step == len(bakes) - 1 and done >= bakes[step]:
            each = running.log_goodness(state, rules)
            good[:, t] = np.stack([each[name] for name in names], axis=-1) - needed
    return Seen(total, tests, good)
