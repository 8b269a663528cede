"""The running evidence of a rollout, as arrays: each window is folded in once, in order.

For every test and alternative W = ln sum_k gamma_k exp L_k over the onsets k so far, where L_k is the
discounted log likelihood ratio of all windows since onset k. A new onset adds its gamma_k to exp W (times
what the threshold weighs), a window adds to W itself: that is the alarm's whole state, however long the
rollout.

Tests are the comparisons of all cells with stable's odds, then with what is tolerated, then the objectives.
Leading axes are free: many rollouts may be folded at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging import evidence, overdispersion
from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.overdispersion import Dispersion, Scattered
from inference_rollouts.core.judging.rules import Rules
from inference_rollouts.core.judging.thresholds import log_spread
from inference_rollouts.core.judging.tolerance import tolerated

APART = (
    0.14  # of the log odds (a factor of 1.15): closer to what is tolerated no counts tell one from the other
)
CREDIT = 2 / 3  # of the evidence for a canary that is asked for: more of it earlier steps cannot give
OWN = 0.25  # of the evidence for a rate is that of its own counts, the rest that of all rates together
AGAINST = 2.0  # times what its own counts of the last step say against it is taken off the rest
TOLERANCES = 2.0  # of times that are tolerated the margin has at least: what is tolerated is to pass
GROUP = 5.0  # requests that may share a cause, before it is known how many do
BY_CHANCE = 0.05  # or more likely: that in such groups all that the canary got in a window is bad...
AT_ONCE = 2.0  # ...and so many nats of what the window says count whole, of what is beyond...
REST = 0.2  # ...this part
FIRST_KAPPA = 0.5  # of tests of one arm's share, before any window


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """`alarm` is W: tests x effects. `good` are the promotion's log likelihood ratios over the rollout,
    `earlier` of the steps before: cells x (odds, canary's share, stable's share) x effects. `counted` are
    events and bad ones of both arms, over the rollout. `kappa` discounted the last window."""

    alarm: Array
    good: Array
    earlier: Array
    counted: Integers
    dispersion: Dispersion
    kappa: Array


_ARRAYS = ("alarm", "good", "earlier", "counted", "kappa")


def nothing_seen(rules: Rules, *shape: int) -> Running:
    """Before the first step of as many rollouts as `shape` says."""
    cells, tests = len(rules.cells), 2 * len(rules.cells) + len(rules.objectives)
    good = np.zeros((*shape, cells, 3, len(evidence.SHARE_RATIOS)))
    known = overdispersion.nothing_known(*shape, cells)
    alarm = np.full((*shape, tests, len(evidence.WORSE_ODDS)), -np.inf)
    counted = np.zeros((*shape, 2, cells), dtype=np.int64)
    return Running(alarm, good, good, counted, known, np.full((*shape, cells), _first_kappa(rules)))


def next_step(running: Running, rules: Rules) -> Running:
    """Where a step begins: promotion is told apart by step."""
    kappa = np.full(running.kappa.shape, _first_kappa(rules))
    return replace(running, earlier=running.good, kappa=kappa)


def _first_kappa(rules: Rules) -> float:
    return FIRST_KAPPA if rules.policy.kappa == "estimate" else rules.policy.kappa


def joined(each: Sequence[Running]) -> Running:
    """Of several rollouts with the same rules, along a new first axis."""
    arrays = {name: evidence.stacked([getattr(one, name) for one in each]) for name in _ARRAYS}
    return Running(**arrays, dispersion=overdispersion.joined([one.dispersion for one in each]))


def parted(running: Running) -> list[Running]:
    """The inverse of `joined`."""
    arrays = zip(*(getattr(running, name) for name in _ARRAYS), strict=True)
    known = overdispersion.parted(running.dispersion)
    return [
        Running(**dict(zip(_ARRAYS, each, strict=True)), dispersion=one)
        for each, one in zip(arrays, known, strict=True)
    ]


def with_onset(running: Running, rules: Rules, mass: Array, counted: Integers) -> Running:
    """With an onset of this prior weight now, of each rollout; its thresholds weigh by what is `counted`, as
    of `Running`."""
    spread = log_spread(rules, counted)
    tests = np.concatenate([spread, spread, np.zeros((*spread.shape[:-1], len(rules.objectives)))], axis=-1)
    onset = evidence.log(mass)[..., None] + tests
    return replace(running, alarm=np.logaddexp(running.alarm, onset[..., None]))


def fold(
    running: Running,
    rules: Rules,
    n: Integers,
    bad: Integers,
    scattered: Scattered,
    seconds: Array,
) -> Running:
    """The evidence after one more window in which both arms count; `n`, `bad`: (canary, stable) x ... x
    cells. What a rollout gets is, to the last bit, the same whatever rollouts are beside it.

    Comparisons are discounted by the window's totals, on which they are conditioned, by how its pods scatter,
    and by the windows before; tests of one arm's share by the windows before alone, since totals would give
    its own count away.
    """
    no_worse = tolerated(rules, running.counted)[..., None]
    events, bad_ones = n.sum(axis=0), bad.sum(axis=0)
    known = overdispersion.with_pods(running.dispersion, n[1], bad_ones / np.maximum(events, 1), scattered)
    now, before = running.kappa, running.kappa[..., None]
    if rules.policy.kappa == "estimate":
        bounds, requests = rules.policy.kappa_bounds, events[..., rules.requests, None]
        slower = np.where(rules.slowdown > 0, no_worse[..., 0], 0.0)
        now = overdispersion.kappa(known, n, bad_ones, scattered, requests, seconds, slower, bounds)
    ratios = _odds_ratios(rules, n, bad, no_worse) * now[..., None]
    return Running(
        alarm=running.alarm + _alarm_gains(rules, n, bad, ratios, no_worse, before),
        good=running.good + _good_gains(rules, n, bad, ratios, before),
        earlier=running.earlier,
        counted=with_window(running.counted, n, bad),
        dispersion=overdispersion.with_time(known, n, bad, seconds),
        kappa=now,
    )


def with_window(counted: Integers, n: Integers, bad: Integers) -> Integers:
    """`counted` after one more window."""
    return np.asarray(counted + np.stack([n.sum(axis=0), bad.sum(axis=0)], axis=-2))


def _odds_ratios(rules: Rules, n: Integers, bad: Integers, no_worse: Array) -> Array:
    """Log likelihoods at all odds that are tried, over that of equal odds.

    Of those that are worse, of what is tolerated, of those that are good enough, of the margin.
    """
    return _odds(n, bad, _tried(rules, no_worse), rules.worse.null)


def _tried(rules: Rules, no_worse: Array) -> Array:
    margin = margin_of(rules.close.null[:, None], rules.tolerated[:, None], no_worse)
    better = rules.close.effects - rules.close.null[:, None]
    parts = rules.worse.effects, no_worse, margin + better, margin
    shape = no_worse.shape[:-1]
    return np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)


def margin_of(margin: Array, odds: Array, no_worse: Array) -> Array:
    """Log odds that are too bad: those of the policy's `margin`, or what TOLERANCES times the slowdown makes
    of them, where the slowdown that is tolerated makes `no_worse` of the `odds` that are."""
    return np.maximum(margin, np.where(no_worse > odds, TOLERANCES * no_worse, 0.0))


def _telling(n_c: Integers, x_c: Integers, n_b: Integers, x_b: Integers) -> Integers:
    """The cells in which something is bad, but not all, and both arms count."""
    total, both = n_c + n_b, x_c + x_b
    return np.flatnonzero((both > 0) & (both < total) & (n_c > 0) & (n_b > 0))


def _alarm_gains(
    rules: Rules, n: Integers, bad: Integers, ratios: Array, no_worse: Array, before: Array
) -> Array:
    limited, tried = rules.objectives, rules.worse.effects.shape[-1]
    worse = ratios[..., :tried]
    shares = evidence.share_increments(
        n[0][..., limited], bad[0][..., limited], rules.breach.effects, rules.breach.null
    )
    beyond = beyond_tolerance(rules, worse, ratios[..., tried : tried + 1], no_worse)
    comparisons = np.concatenate([worse, beyond], axis=-2)
    few = np.tile(_few_groups(n, bad), 2)[..., None]
    told = np.where(few, _at_once(comparisons), comparisons)
    return np.concatenate([told, shares * before[..., limited, :]], axis=-2)


def _few_groups(n: Integers, bad: Integers) -> NDArray[np.bool_]:
    """Cells in which, by what both arms had together, as many groups as the canary got may all be bad by
    chance: none of its pods would differ, so the window could not tell many surprises from a few."""
    share = bad.sum(axis=0) / np.maximum(n.sum(axis=0), 1)
    return np.asarray(share ** (n[0] / GROUP) > BY_CHANCE)


def _at_once(gains: Array) -> Array:
    """Less of what speaks against the canary counts, so E stays an e-process; more never counts less."""
    return np.minimum(gains, AT_ONCE) + REST * np.maximum(gains - AT_ONCE, 0.0)


def beyond_tolerance(rules: Rules, worse: Array, within: Array, no_worse: Array) -> Array:
    """Log likelihoods of all alternatives over that of what is tolerated; for one that is not APART from it,
    that of the least that is."""
    near = (rules.worse.effects < no_worse + APART).sum(axis=-1, keepdims=True)
    tried = np.maximum(np.arange(worse.shape[-1]), near)
    return np.take_along_axis(worse, tried, axis=-1) - within


def _good_gains(rules: Rules, n: Integers, bad: Integers, ratios: Array, before: Array) -> Array:
    small, tried = rules.small, rules.worse.effects.shape[-1] + 1
    tests = (
        ratios[..., tried:-1] - ratios[..., -1:],
        evidence.share_increments(n[0], bad[0], small.effects, small.null) * before,
        evidence.share_increments(n[1], n[1] - bad[1], small.effects, small.null) * before,
    )
    return np.stack(tests, axis=-2)


def _odds(n: Integers, bad: Integers, effects: Array, null: Array) -> Array:
    """`evidence.odds_increments` with free leading axes of counts and effects; cells in which nothing is bad,
    or all, tell nothing."""
    shape = n.shape[1:]
    telling = _telling(n[0].ravel(), bad[0].ravel(), n[1].ravel(), bad[1].ravel())
    places = telling % shape[-1]
    gains = np.zeros((n[0].size, effects.shape[-1]))
    n_c, x_c, n_b, x_b = (each.ravel()[telling] for each in (n[0], bad[0], n[1], bad[1]))
    tried = effects.reshape(n[0].size, -1)[telling]
    gains[telling] = evidence.odds_increments(n_c, x_c, n_b, x_b, tried, null[places])
    return gains.reshape(*shape, -1)


def log_evidence(running: Running, rules: Rules, unbegun: Array, *, alone: bool = False) -> Array:
    """ln E of each test (comparisons, then objectives) against the canary; `unbegun`: weight of later onsets.

    The comparisons of a metric say that the canary is worse than stable, together by `slack` at most beyond
    what says that it is worse than tolerated. An objective counts only as far as the canary is worse than
    stable there; or by itself where there is no stable to compare with (`alone`).
    """
    prior = np.concatenate([rules.worse.prior, rules.worse.prior, rules.breach.prior])
    mixed = np.logaddexp(evidence.log_sum(running.alarm + prior), evidence.log(unbegun)[..., None])
    cells = len(rules.cells)
    worse, beyond, breach = np.split(mixed, [cells, 2 * cells], axis=-1)
    objectives = breach if alone else np.minimum(breach, worse[..., rules.objectives])
    return np.concatenate([_within_slack(rules, worse, beyond), objectives], axis=-1)


def _within_slack(rules: Rules, worse: Array, beyond: Array) -> Array:
    """The comparisons `worse` than stable; where those of a metric have more than what says that it is worse
    than tolerated allows, all of them less by the same factor. The mean over its thresholds counts: at the
    border that of `beyond` is an e-process, as its parts are."""
    starts = [place.start for place in rules.places.values()]
    much, most = (np.logaddexp.reduceat(each, starts, axis=-1) for each in (worse, beyond + rules.slack))
    widths = np.diff([*starts, worse.shape[-1]])
    return np.asarray(worse - np.repeat(np.maximum(much - most, 0.0), widths, axis=-1))


def log_total(log_e: Array, rules: Rules) -> Array:
    """ln E of all tests together."""
    return np.asarray(evidence.log_sum(log_e + evidence.log(rules.weights)))


def log_goodness(running: Running, rules: Rules) -> dict[str, Array]:
    """ln E that each metric is good enough: not worse by the margin, or negligible.

    Evidence of all steps counts, but of what is asked for the last must bring what CREDIT leaves: a canary
    that turned bad late is not promoted for its youth.
    """
    credit = CREDIT * math.log(1 / rules.policy.beta)
    both = _goodness(np.stack([running.good, running.good - running.earlier]), rules)
    return {name: np.minimum(whole, step + credit) for name, (whole, step) in both.items()}


def _goodness(good: Array, rules: Rules) -> dict[str, Array]:
    """Of (the whole rollout, the last step) x ... x cells x 3 x effects.

    Rates are rare, each by itself: the evidence for one is the mean, which is an e-value as its parts are, of
    that of its own counts and of `_together`.
    """
    together = dict(zip(rules.rates, np.moveaxis(_together(good, rules), -1, 0), strict=True))
    out = {}
    for each in rules.alike:
        alone = _alone(
            good[..., each.cells, :, :], rules.close.prior[each.cells], rules.small.prior[each.cells]
        )
        for place, name in enumerate(each.names):
            own = alone[..., place]
            out[name] = _mean(own, together[name]) if name in together else own
    return out


def _mean(own: Array, together: Array) -> Array:
    return np.logaddexp(own + math.log(OWN), together + math.log1p(-OWN))


def _together(good: Array, rules: Rules) -> Array:
    """ln E that failures of all kinds together are not worse by the margin, for each rate: ... x rates.

    What a rate's own counts of the last step say against it is taken off there, AGAINST times, so that others
    do not hide it: their mean log likelihood ratio. What was an e-value is one when something is taken off.
    """
    cells = [rules.places[name].start for name in rules.rates]
    odds, prior = good[..., cells, 0, :], rules.close.prior[0]
    own = (odds * np.exp(prior)).sum(axis=-1)
    own[0] = 0.0
    together = evidence.log_sum(odds.sum(axis=-2) + prior)
    return np.asarray(together[..., None] + AGAINST * np.minimum(own, 0.0))


def _alone(good: Array, close: Array, small: Array) -> Array:
    """The mean of two e-processes, of each of several metrics: ... x metrics x thresholds x 3 x effects. One
    is against "worse by the margin at every threshold": the mean over the thresholds. The other is against
    "at some threshold it matters": the least over the thresholds of the evidence that the canary's bad share,
    or all that stable does better, is negligible.
    """
    odds = evidence.log_sum(evidence.log_sum(good[..., 0, :] + close)) - np.log(close.shape[-2])
    shares = evidence.log_sum(evidence.log_sum(good[..., 1:, :] + small[..., None, :])).min(axis=-1) - np.log(
        2
    )
    both = np.logaddexp(odds, shares) - np.log(2)
    return np.asarray(np.where(np.isneginf(small).all(axis=(-2, -1)), odds, both))


def objectives_broken(running: Running, rules: Rules, unbegun: Array) -> Array:
    """ln E that the canary breaks each objective, whatever stable does."""
    broken = running.alarm[..., 2 * len(rules.cells) :, :] + rules.breach.prior
    return np.asarray(np.logaddexp(evidence.log_sum(broken), evidence.log(unbegun)[..., None]))
