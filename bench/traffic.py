"""Simulated servers: what both arms' pods count, window by window, under nulls and regressions.

Requests arrive at random, at a pace that drifts, in bursts, or as in a recorded trace. Each arm has four
pods. What a pod does depends on how many requests are inside it: it queues them, and batches their tokens, so
that the tokens of one window share their pace. Pods, and the nodes of an arm, may be a little slower than
others for a while. Metrics are those of the metric set `vllm`. Everything is drawn for many rollouts at once:
arrays are rollouts x windows x pods (canary's, then stable's), counts have the cells last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging.metrics import Latency, MetricSet

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SECONDS = 15.0  # of one window
PER_MINUTE = 4
PODS = 4  # of each arm
DELAY = 2  # windows after each shift that nobody counts
FAILING, REFUSED, UNFINISHED = 0.01, 0.002, 0.004
TTFT, SPREAD = 0.3, 0.6  # median (s) and sd of the log
TOKEN, TOKEN_SPREAD, REQUEST_SPREAD = 0.03, 0.25, 0.15  # of single tokens, of the mean of a request
TOKENS = 180  # of an answer
PREEMPTED = 2e-4  # of the requests
ROOM = 48.0  # requests that a pod batches without queueing
LIFE = 6.0  # seconds that a request stays


@dataclass(frozen=True, slots=True)
class Layout:
    """Weights (0 to 1) and minutes of the steps; the last one goes on for `more` minutes until the
    deadline."""

    steps: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50)
    minutes: tuple[int, ...] = (8, 8, 8, 8)
    more: int = 30

    @property
    def step(self) -> Integers:
        """The step of each window, from 0."""
        lengths = np.array(self.minutes)
        lengths[-1] += self.more
        return np.repeat(np.arange(len(self.steps)), lengths * PER_MINUTE)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether a window is counted: not just after a shift."""
        step = self.step
        starts = np.flatnonzero(np.diff(step, prepend=-1))
        since = np.arange(len(step)) - starts[step]
        return np.asarray(since >= DELAY)


USUAL = Layout()
LONG = Layout(steps=(0.05, 0.10), minutes=(10, 40), more=0)
LONG_25 = Layout(steps=(0.10, 0.25), minutes=(10, 40), more=0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens.

    `canary`: factors of the canary from minute `since` on: of the odds of `errors`, the time to the first
    token (`ttft`), the time of a token (`token`), and `slow`, a share of its requests that take 8 times.
    `drift`: sd of log odds and (a fifth of it) log times that both arms share. `incident`: share of requests
    of both arms that fail three times for 45 s. `batch`: how much the load of a pod slows its tokens. `pods`,
    `node`: sd of a pod's, an arm's pace, slowly moving. `alike`: sd of the token times of one request.
    """

    name: str
    kind: str = "ideal"
    rate: float = 20.0
    layout: Layout = USUAL
    canary: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0
    drift: float = 0.0
    swing: float = 0.0
    bursts: float = 0.0
    spread: float = SPREAD
    incident: float = 0.0
    batch: float = 0.0
    pods: float = 0.0
    node: float = 0.0
    hiccups: float = 0.0
    ill: float = 0.0
    clump: int = 1
    alike: float = 0.0
    tokens: bool = False
    frailty: float = 0.0
    trace: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """What was counted: (canary, stable) x rollouts x windows x cells, and Pearson's statistics of the
    pods."""

    scenario: Scenario
    n: Integers
    bad: Integers
    chi2: Array
    df: Array
    lasting_chi2: Array
    lasting_df: Array
    canary_chi2: Array
    canary_df: Array


def draw(
    scenario: Scenario,
    metric_set: MetricSet,
    rollouts: int,
    rng: np.random.Generator,
    arrivals: Array | None = None,
) -> Stream:
    """Counts of `rollouts` independent rollouts; `arrivals` of a trace a window, played from random
    starts."""
    layout = scenario.layout
    windows = len(layout.step)
    load = _arriving(scenario, rollouts, windows, rng, arrivals)
    weight = np.array(layout.steps)[layout.step]
    each = (
        np.concatenate([np.repeat(weight[:, None], PODS, 1), np.repeat(1 - weight[:, None], PODS, 1)], 1)
        / PODS
    )
    n = _poisson(rng, load[:, :, None] * each, scenario.clump)
    shares, counts = _behaviour(scenario, n, rng), {}
    counts["errors"] = n, _binomial(rng, n, shares["errors"][..., None], scenario.clump)
    counts["refused"] = n, _binomial(rng, n, np.full((*n.shape, 1), REFUSED), scenario.clump)
    for name in ("unfinished", "aborted"):
        counts[name] = n, _binomial(rng, n, np.full((*n.shape, 1), UNFINISHED), scenario.clump)
    for metric in metric_set.metrics:
        if isinstance(metric, Latency) and metric.name in ("ttft", "queue_time", "inter_token"):
            over = np.log(np.array(metric.thresholds))
            counts[metric.name] = _latency(scenario, metric.name, n, over, shares, rng)
    counts["preemptions"] = n, rng.binomial(n, PREEMPTED)[..., None]
    return _summed(scenario, metric_set, counts)


def _arriving(
    scenario: Scenario, rollouts: int, windows: int, rng: np.random.Generator, arrivals: Array | None
) -> Array:
    """Expected requests of both arms in each window."""
    mean = np.full((rollouts, windows), scenario.rate * SECONDS)
    if scenario.trace and arrivals is not None:
        at = rng.integers(0, len(arrivals), (rollouts, 8, 1)) + np.arange(windows)
        mean = arrivals[at % len(arrivals)].sum(axis=1) * (scenario.rate * SECONDS / (8 * arrivals.mean()))
    phase = rng.uniform(0, 2 * np.pi, (rollouts, 1))
    mean = mean * np.exp(scenario.swing * np.sin(phase + np.arange(windows) / windows * 2 * np.pi))
    if scenario.bursts:
        mean = mean * np.where(rng.random(mean.shape) < 0.1, 1 + scenario.bursts, 1 - scenario.bursts / 9)
    return np.asarray(mean)


def _behaviour(scenario: Scenario, n: Integers, rng: np.random.Generator) -> dict[str, Array]:
    """Log odds and log times of each pod in each window."""
    rollouts, windows, pods = n.shape
    minute = np.arange(windows) / PER_MINUTE
    worse = np.zeros((windows, pods))
    worse[minute >= scenario.since, :PODS] = 1
    common = slow_noise(rng, (rollouts, windows, 1), scenario.drift)
    arms = slow_noise(rng, (rollouts, windows, 2), scenario.node).repeat(PODS, axis=2)
    pace = 0.2 * slow_noise(rng, (rollouts, windows, 1), scenario.drift) + arms
    pace = pace + slow_noise(rng, (rollouts, windows, pods), scenario.pods)
    inside = _inside(n)
    wait = np.maximum(inside / ROOM - 0.7, 0) * 1.5 * bool(scenario.batch) + 0.002
    frailty = np.zeros((1, 1, 1))
    if scenario.frailty:
        shape, each = scenario.frailty**-2, (rollouts, -(-windows // PER_MINUTE), pods)
        frailty = rng.gamma(shape, 1 / shape, each).repeat(PER_MINUTE, axis=1)[:, :windows]
    busy = scenario.batch * inside / ROOM
    hiccup = (rng.random(n.shape) < scenario.hiccups) * rng.uniform(0.1, 0.5, n.shape)
    odds = np.log(FAILING / (1 - FAILING)) + common
    failing = 1 / (1 + np.exp(-(odds + worse * np.log(scenario.canary.get("errors", 1.0)))))
    failing = failing + (1 - failing) * (_incidents(rng, rollouts, windows) * scenario.incident)[..., None]
    ill = _incidents(rng, rollouts, windows)[..., None] * (np.arange(pods) == PODS) * scenario.ill
    return {
        "errors": np.clip(failing * np.where(frailty > 0, frailty, 1.0) + ill, 0, 1),
        "frailty": frailty,
        "ttft": np.log(TTFT) + pace + 0.5 * busy + worse * np.log(scenario.canary.get("ttft", 1.0)),
        "inter_token": np.log(TOKEN) + pace + 0.4 * busy + worse * np.log(scenario.canary.get("token", 1.0)),
        "wait": np.clip(wait, 0, 0.9),
        "slow": np.clip(0.003 + hiccup + worse * scenario.canary.get("slow", 0.0), 0, 1),
        "inside": inside,
    }  # fmt: skip


def _inside(n: Integers) -> Array:
    """Requests inside a pod: those that arrived, over a life of a few windows."""
    keep = np.exp(-SECONDS / (4 * LIFE))
    inside = np.empty(n.shape)
    now = n[:, :8].mean(axis=1) * LIFE / SECONDS
    for t in range(n.shape[1]):
        now = keep * now + (1 - keep) * n[:, t] * LIFE / SECONDS
        inside[:, t] = now
    return inside


def _incidents(rng: np.random.Generator, rollouts: int, windows: int) -> Array:
    """Three times 45 s; windows may hold them in part."""
    begins = rng.uniform(0, windows - 3, (rollouts, 3, 1))
    t = np.arange(windows)
    return np.asarray(np.clip(np.minimum(t + 1, begins + 3) - np.maximum(t, begins), 0, 1).max(axis=1))


def slow_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], sd: float, forgets: float = 5.0
) -> Array:
    """AR(1), half of it forgotten in `forgets` minutes."""
    if not sd:
        return np.zeros((1, 1, shape[2]))
    keep = 0.5 ** (1 / (forgets * PER_MINUTE))
    noise = rng.normal(0, sd, shape)
    noise[:, 1:] *= np.sqrt(1 - keep**2)
    for t in range(1, shape[1]):
        noise[:, t] += keep * noise[:, t - 1]
    return noise


def _latency(
    scenario: Scenario,
    name: str,
    n: Integers,
    over: Array,
    shares: dict[str, Array],
    rng: np.random.Generator,
) -> tuple[Integers, Integers]:
    slow, wait = shares["slow"][..., None], shares["wait"][..., None]
    if name == "queue_time":
        return n, _binomial(rng, n, wait * np.exp(-(np.exp(over) - 0.3) / 1.2), scenario.clump)
    spread = scenario.spread if name == "ttft" else np.hypot(_token_spread(scenario), scenario.alike)
    z = (over - shares[name][..., None]) / spread
    late = (1 - slow) * _later(z, shares) + slow * _later(z - np.log(8) / spread, shares)
    if name == "ttft":
        return n, _binomial(rng, n, (1 - wait) * late + wait * _later(z - 1.5, shares), scenario.clump)
    if not scenario.tokens:
        return n, _binomial(rng, n, late, scenario.clump)
    return _tokens(scenario, n, late, shares["inside"], over, rng)


def _token_spread(scenario: Scenario) -> float:
    return TOKEN_SPREAD if scenario.tokens else REQUEST_SPREAD


def _later(z: Array, shares: dict[str, Array]) -> Array:
    """The share of requests later than z standard deviations of the log time after the median."""
    frailty = shares["frailty"][..., None]
    return np.where(
        frailty > 0, np.exp(-np.log(2) * np.exp(1.5 * np.minimum(z, 20)) / np.maximum(frailty, 0.05)), tail(z)
    )


def _tokens(
    scenario: Scenario, n: Integers, share: Array, inside: Array, over: Array, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Tokens: those of one request are alike, and a stall hits a whole batch."""
    tokens = np.rint(inside * SECONDS / LIFE * TOKENS).astype(np.int64)
    if scenario.alike:
        requests = np.maximum(inside * SECONDS / LIFE, 1)[..., None]
        share = np.maximum(share, 1e-9)
        share = rng.beta(share * requests, np.maximum(1 - share, 1e-9) * requests)
    bad = _binomial(rng, tokens, share, 1)
    if scenario.batch:
        stalls = rng.poisson(np.minimum(n, 60) * 0.2)[..., None] * np.exp(
            -np.maximum(over - np.log(0.06), 0) / 0.5
        )
        bad = np.minimum(
            bad + np.rint(stalls * np.maximum(inside, 1)[..., None]).astype(np.int64), tokens[..., None]
        )
    return tokens, np.minimum.accumulate(bad, axis=-1)


def tail(z: Array) -> Array:
    """P(normal > z), to 1e-7 (Abramowitz and Stegun 26.2.17)."""
    x = np.abs(z)
    k = 1 / (1 + 0.2316419 * x)
    poly = k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    upper = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * poly
    return np.asarray(np.where(z >= 0, upper, 1 - upper))


def _poisson(rng: np.random.Generator, mean: Array, clump: int) -> Integers:
    return np.asarray(rng.poisson(mean / clump) * clump)


def _binomial(rng: np.random.Generator, n: Integers, shares: Array, clump: int) -> Integers:
    """Bad counts at falling shares; clumped requests share their fate. What is over one threshold is over
    those below."""
    left, before, cells = n // clump, np.ones(n.shape), []
    shares = np.broadcast_to(shares, (*n.shape, shares.shape[-1]))
    for j in range(shares.shape[-1]):
        chance = np.clip(shares[..., j] / np.maximum(before, 1e-12), 0, 1)
        left = rng.binomial(left, chance)
        cells.append(left * clump)
        before = shares[..., j]
    return np.stack(cells, axis=-1)


def _summed(
    scenario: Scenario, metric_set: MetricSet, counts: Mapping[str, tuple[Integers, Integers]]
) -> Stream:
    """Both arms, in the metric set's order; a metric that was not drawn is silent."""
    parts: list[tuple[Array, ...]] = []
    rollouts, windows, _ = counts["errors"][0].shape
    kept = scenario.layout.counted
    for metric in metric_set.metrics:
        cells = len(metric.thresholds)
        empty = np.zeros((rollouts, windows, 2 * PODS), dtype=np.int64)
        n, bad = counts.get(metric.name, (empty, np.repeat(empty[..., None], cells, axis=-1)))
        n, bad = n * kept[:, None], bad * kept[:, None, None]
        arms = [slice(0, PODS), slice(PODS, None)]
        total = np.stack([np.repeat(n[..., arm].sum(axis=2)[..., None], cells, axis=-1) for arm in arms])
        parts.append(
            (total, np.stack([bad[:, :, arm].sum(axis=2) for arm in arms]), *_scatter(scenario, n, bad))
        )
    return Stream(scenario, *(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)))


def _scatter(scenario: Scenario, n: Integers, bad: Integers) -> tuple[Array, ...]:
    """Pearson's test of stable's pods in each window, what each adds to that of all windows of the step, and
    the test of the canary's pods in each."""
    excess, variance = _surprises(n[:, :, PODS:, None], bad[:, :, PODS:])
    canary = _pearson(*_surprises(n[:, :, :PODS, None], bad[:, :, :PODS]))
    so_far = [np.zeros(excess.shape), np.zeros(excess.shape)]
    for step in range(len(scenario.layout.steps)):
        mine = scenario.layout.step == step
        for total, each in zip(so_far, (excess, variance), strict=True):
            total[:, mine] = np.cumsum(each[:, mine], axis=1)
    first = np.diff(scenario.layout.step, prepend=-1) != 0
    lasting = (np.where(first[:, None], e, np.diff(e, axis=1, prepend=0)) for e in _pearson(*so_far))
    return *_pearson(excess, variance), *lasting, *canary


def _surprises(n: Integers, bad: Integers) -> tuple[Array, Array]:
    share = bad.sum(axis=2, keepdims=True) / np.maximum(n.sum(axis=2, keepdims=True), 1)
    return bad - n * share, n * share * (1 - share)


def _pearson(excess: Array, variance: Array) -> tuple[Array, Array]:
    """Chi-square and its degrees of freedom, over the pods."""
    some = variance > 0
    chi2 = np.where(some, excess**2 / np.where(some, variance, 1), 0).sum(axis=2)
    return chi2, np.maximum(some.sum(axis=2) - 1, 0).astype(float)


NULLS = (
    Scenario("steady"),
    Scenario("shared drift", drift=0.5),
    Scenario("half a day", drift=0.2, swing=1.0),
    Scenario("bursts", bursts=3.0, drift=0.3),
    Scenario("recorded arrivals", trace=True, drift=0.3),
    Scenario("heavy tails", spread=1.0, drift=0.3),
    Scenario("5 requests/s", rate=5.0, drift=0.3),
    Scenario("incidents of both arms", kind="incident", incident=0.3),
    Scenario("queues", kind="noisy", batch=1.0),
    Scenario("queues, tokens", kind="noisy", batch=1.0, tokens=True),
    Scenario("queues, pods' pace", kind="noisy", batch=1.0, pods=0.03),
    Scenario("queues, pods' pace, tokens", kind="noisy", batch=1.0, pods=0.03, tokens=True),
    Scenario("queues, node's pace", kind="noisy", batch=1.0, node=0.03),
    Scenario("queues, node's pace, tokens", kind="noisy", batch=1.0, node=0.03, tokens=True),
    Scenario("hiccups", kind="noisy", hiccups=0.01),
    Scenario("a pod's incidents", kind="noisy", ill=0.3),
    Scenario("clumps of 5", kind="noisy", clump=5),
    Scenario("tokens of a request alike", kind="noisy", alike=0.15, tokens=True),
)
OTHERS = (
    Scenario("Weibull times", kind="other", drift=0.3, frailty=1e-3),
    Scenario("Weibull times, gamma frailty", kind="other", drift=0.3, frailty=0.1),
)
"""Of another family, seen by no one who tuned anything."""
REGRESSIONS = (
    Scenario("failures x 1.5", drift=0.3, canary={"errors": 1.5}),
    Scenario("failures x 2", drift=0.3, canary={"errors": 2.0}),
    Scenario("failures x 3", drift=0.3, canary={"errors": 3.0}),
    Scenario("TTFT x 1.25", drift=0.3, canary={"ttft": 1.25}),
    Scenario("TTFT x 2", drift=0.3, canary={"ttft": 2.0}),
    Scenario("1 % of requests x 8", drift=0.3, canary={"slow": 0.01}),
    Scenario("tokens x 1.25", drift=0.3, canary={"token": 1.25}),
    Scenario("failures x 3 from minute 12", drift=0.3, canary={"errors": 3.0}, since=12),
    Scenario("failures x 2 from the last step", drift=0.3, canary={"errors": 2.0}, since=24),
    Scenario("40-minute step, failures x 3 from its middle", layout=LONG, canary={"errors": 3.0}, since=30),
    Scenario("the same at 25 %, failures x 3", layout=LONG_25, canary={"errors": 3.0}, since=30),
    Scenario("40-minute step, TTFT x 1.25 from its middle", layout=LONG, canary={"ttft": 1.25}, since=30),
)


def noisy(scenario: Scenario) -> Scenario:
    """The same on servers with queues and pods of their own pace."""
    return replace(scenario, name=scenario.name, kind="noisy", batch=1.0, pods=0.03, alike=0.1)
