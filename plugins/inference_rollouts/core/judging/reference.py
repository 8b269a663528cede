"""Stable's own figures, where it has no traffic any more: what the canary is compared with at 100 %.

Stable's bad share of the last compared step is known as well as its counts tell, and only as far as a service
stays as it was: its log odds are taken to be normal about what was counted, with the variance of these
counts, times their overdispersion, and that of a usual drift. The evidence against the canary is the
likelihood of all that it counted since, averaged over that. Nobody is there to share an incident, so in any
time evidence grows by so much at most: what is bad has to last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from inference_rollouts.core.judging import evidence, overdispersion
from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.overdispersion import Dispersion
from inference_rollouts.core.judging.rules import Rules
from inference_rollouts.core.judging.running import Running, beyond_tolerance
from inference_rollouts.core.judging.tolerance import tolerated

DRIFT = 0.3  # sd of the log odds of a service between a step and the next
MOST = 3.0 / 60.0  # nats/s by which evidence grows at most
GRID = np.linspace(-3.0, 3.0, 25)  # standard deviations at which stable's log odds are tried
LOG_GRID = -GRID * GRID / 2 - np.log(np.exp(-GRID * GRID / 2).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Mean and standard deviation of stable's log odds, by cell; `known` where it has counted anything."""

    mean: Array
    sd: Array
    known: Array

    def fold(
        self, state: Running, rules: Rules, before: Integers, window: Integers, seconds: float
    ) -> Running:
        """The evidence after one more `window` of the canary alone, with what it counted `before`.

        Both are (events, bad ones) x cells.
        """
        limited, (n, bad) = rules.objectives, window
        no_worse = tolerated(rules, state.counted)[:, None]
        effects = np.concatenate([rules.worse.effects, no_worse], axis=-1)
        gained = self._log_ratios(effects, *(before + window)) - self._log_ratios(effects, *before)
        worse = gained[:, :-1]
        beyond = beyond_tolerance(rules, worse, gained[:, -1:], no_worse)
        breach = evidence.share_increments(n[limited], bad[limited], rules.breach.effects, rules.breach.null)
        gains = np.concatenate([worse, beyond, breach])
        kappa = np.concatenate([state.kappa, state.kappa, state.kappa[limited]])[:, None]
        return replace(state, alarm=state.alarm + np.minimum(gains * kappa, MOST * seconds))

    def _log_ratios(self, effects: Array, n: Integers, bad: Integers) -> Array:
        """ln of the likelihood of these counts at each effect over that at stable's odds: cells x effects."""
        log_odds = self.mean[:, None] + self.sd[:, None] * GRID
        shifted = log_odds[:, None, :] + np.pad(effects, ((0, 0), (0, 1)))[..., None]
        all_good = np.logaddexp(0.0, shifted)
        terms = bad[:, None, None] * shifted - n[:, None, None] * all_good + LOG_GRID
        likelihood = evidence.log_sum(terms)
        return (likelihood[:, :-1] - likelihood[:, -1:]) * self.known[:, None]


def reference_of(stable: tuple[tuple[int, ...], ...], known: Dispersion) -> Reference | None:
    """From what stable counted (events, bad ones) by cell; None where no step was compared."""
    if not stable:
        return None
    n, bad = np.array(stable)
    good_and_bad = np.stack([bad, n - bad]) + 0.5
    variance = (1 / good_and_bad).sum(axis=0) * overdispersion.between_pods(known)
    mean = np.log(good_and_bad[0] / good_and_bad[1])
    return Reference(mean, np.sqrt(variance + DRIFT**2), (n > 0).astype(float))
