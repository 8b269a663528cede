"""From raw samples to integer counts over identical windows."""

import math
from itertools import pairwise
from typing import Any

import pytest

from inference_rollouts.core.judging import counts
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import last_window, windows
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.window_counts import ArmCounts, WindowCounts
from tests.support.judging import CANARY, SMALL, STABLE, rate_samples, sample, small_set, snapshot

RATES = small_set()
OLD = rate_samples(STABLE, "s1", 1000, 10)


def grown(before: list[Any], after: list[Any], metric_set: Any = RATES) -> WindowCounts:
    """The window from 100 to 110, of pods that were there at 90 as well."""
    seen = [snapshot(90, *before), snapshot(100, *before), snapshot(110, *after)]
    window = last_window(metric_set, CANARY, STABLE, seen)
    assert window is not None
    assert (window.start, window.end) == (100, 110)
    return window


def errors(before: list[Any], after: list[Any]) -> ArmCounts:
    """The canary's requests and failures; stable has one quiet pod."""
    return grown(before + OLD, after + OLD).counts["errors"].canary


def test_counters_are_differenced_by_pod_and_summed() -> None:
    before = rate_samples(CANARY, "c1", 100, 1) + rate_samples(CANARY, "c2", 50, 0)
    after = rate_samples(CANARY, "c1", 130, 3) + rate_samples(CANARY, "c2", 60, 1)
    assert errors(before, after) == ArmCounts(n=40, bad=(3,), pods=2)


def test_both_arms_are_counted() -> None:
    window = grown(
        rate_samples(CANARY, "c", 1, 0) + OLD,
        rate_samples(CANARY, "c", 2, 1) + rate_samples(STABLE, "s1", 1500, 12),
    )
    assert window.counts["errors"].stable == ArmCounts(n=500, bad=(2,), pods=1)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((100, None), (140, None), (40, 0)),  # no errors yet: their series does not exist
        ((100, None), (140, 4), (40, 4)),  # the first errors
        ((None, None), (None, None), None),  # no requests series: nothing is known
        ((100, 2), (30, 1), None),  # a fall without a restart is no restart
        ((100, 9), (130, 1), None),  # of one series is enough
        ((100, 9), (130, None), None),  # one that was there is missing
        ((100, 0), (100.0, 0), (0, 0)),  # no traffic
        ((100, 0), (100.4, 0.4), (0, 0)),  # counts are whole
        ((100, 2), (101, 9), (1, 1)),  # torn between two counters: never more bad than all
        ((100, 0), (math.nan, 0), None),
        ((100, 0), (math.inf, 0), None),
    ],
)
def test_one_pod(before: Any, after: Any, expected: tuple[int, int] | None) -> None:
    def samples(values: Any) -> list[Any]:
        tags = ("errors/total/0", "errors/bad/0")
        return [sample(CANARY, "c", tag, v) for tag, v in zip(tags, values, strict=True) if v is not None]

    arm = errors(samples(before), samples(after))
    assert (arm.n, arm.bad) == ((expected[0], (expected[1],)) if expected else (0, (0,)))
    assert arm.pods == (1 if expected else 0)


def test_a_pod_that_started_in_the_window_counts_from_nothing() -> None:
    after = [*rate_samples(CANARY, "new", 25, 2), sample(CANARY, "new", "started", 103)]
    assert errors([], after) == ArmCounts(n=25, bad=(2,), pods=1)


@pytest.mark.parametrize("started", [[], [sample(CANARY, "back", "started", 20)]])
def test_a_pod_whose_past_is_unknown_is_left_out(started: list[Any]) -> None:
    """It may have been away for one scrape: its old requests are not this window's."""
    assert errors([], rate_samples(CANARY, "back", 5000, 900) + started) == ArmCounts(n=0, bad=(0,), pods=0)


def test_a_baseline_that_is_no_number_is_no_baseline() -> None:
    """The pod is there only with NaN: as good as away."""
    assert errors(rate_samples(CANARY, "c", math.nan, math.nan), rate_samples(CANARY, "c", 120, 3)).pods == 0


def test_a_pod_that_went_is_left_out() -> None:
    assert errors(rate_samples(CANARY, "gone", 100, 1), []).pods == 0


def test_a_restart_hidden_by_traffic_is_seen_by_the_start_time() -> None:
    before = [*rate_samples(CANARY, "c", 10, 0), sample(CANARY, "c", "started", 50)]
    after = [*rate_samples(CANARY, "c", 30, 3), sample(CANARY, "c", "started", 104)]
    assert errors(before, after) == ArmCounts(n=30, bad=(3,), pods=1)


def test_requests_that_begin_in_the_window_count_when_the_pod_was_there() -> None:
    before = [sample(CANARY, "c", "ttft/le/0", 0.0, "+Inf")]
    after = [*rate_samples(CANARY, "c", 7), sample(CANARY, "c", "ttft/le/0", 0.0, "+Inf")]
    assert errors(before, after) == ArmCounts(n=7, bad=(0,), pods=1)


def shared(pod: str, started: float) -> tuple[dict[str, str], float]:
    """The start time of a process that counts for both arms."""
    return {"series": "started", "pod": pod}, started


@pytest.mark.parametrize(
    ("before", "started", "expected"),
    [
        ([shared("epp", 50)], 50, ArmCounts(n=25, bad=(2,), pods=1)),  # it was there: no request of ours yet
        ([], 50, ArmCounts(n=0, bad=(0,), pods=0)),  # without a start time nobody knows
        ([shared("epp", 50)], 104, ArmCounts(n=25, bad=(2,), pods=1)),  # it restarted: from 0
    ],
)
def test_two_adapters_are_counted_by_one_process(before: Any, started: float, expected: ArmCounts) -> None:
    first, later = rate_samples(STABLE, "epp", 900, 9), rate_samples(STABLE, "epp", 1000, 10)
    after = [*rate_samples(CANARY, "epp", 25, 2), *later, shared("epp", started)]
    metric = grown(before + first, after).counts["errors"]
    assert metric.canary == expected


def test_processes_that_count_nothing_of_ours_are_no_pods() -> None:
    """Model servers of the pool are scraped with the same labels as its picker."""
    servers = [shared("vllm-1", 50), shared("vllm-2", 50)]
    lone = snapshot(110, *servers)
    assert last_window(RATES, CANARY, STABLE, [snapshot(100, *OLD, *servers), lone]) is None
    assert last_window(RATES, CANARY, STABLE, [lone, snapshot(120, *OLD, *servers)]) is None


def buckets(pod: str, values: dict[str, float], tag: str = "ttft/le/0") -> list[Any]:
    return [sample(CANARY, pod, tag, value, le) for le, value in values.items()]


@pytest.mark.parametrize("one", ["1", "1.0", "1e0"])
def test_slower_than_a_threshold_is_all_minus_its_bucket(one: str) -> None:
    before = buckets("c", {"0.5": 10, one: 20, "+Inf": 30})
    after = buckets("c", {"0.5": 15, one: 40, "+Inf": 60})
    canary = grown(before, after).counts["ttft"].canary
    assert canary == ArmCounts(n=30, bad=(25, 10), pods=1)


def test_a_histogram_without_the_thresholds_counts_nothing() -> None:
    values = {"0.5": 10.0, "+Inf": 30.0}
    assert grown(buckets("c", values), buckets("c", values)).counts["ttft"].canary.pods == 0


def test_each_pod_uses_the_first_spelling_that_it_exports() -> None:
    values = [{"0.5": 0.0, "1": 0.0, "+Inf": 0.0}, {"0.5": 1.0, "1": 2.0, "+Inf": 3.0}]
    before, after = (
        buckets("new", v) + buckets("new", v, "ttft/le/1") + buckets("old", v, "ttft/le/1") for v in values
    )
    assert grown(before, after).counts["ttft"].canary == ArmCounts(n=6, bad=(4, 2), pods=2)


@pytest.mark.parametrize("old", [("ttft/le/1",), ("ttft/le/2",), ("ttft/le/0", "ttft/le/1")])
def test_two_measures_of_the_same_are_not_compared_with_each_other(old: tuple[str, ...]) -> None:
    """A release that counts by request beside one that counts by token."""
    latency = {"name": "ttft", "kind": "latency", "histogram": "by_request", "thresholds": [0.5, 1]}
    latency["otherwise"] = ["by_token", "by_token_of_old"]
    metric_set = parse_metric_set(SMALL | {"metrics": [SMALL["metrics"][0], latency]})

    def scrape(n: float) -> list[Any]:
        shown = [(CANARY, tag) for tag in ("ttft/le/0", "ttft/le/1")] + [(STABLE, tag) for tag in old]
        return [
            sample(arm, arm.value, tag, n * share * (1 if tag == "ttft/le/0" else 100), le)
            for arm, tag in shown
            for le, share in (("0.5", 0.2), ("1", 0.5), ("+Inf", 1.0))
        ]

    window = grown(scrape(0), scrape(10), metric_set).counts["ttft"]
    unit = 10 if "ttft/le/0" in old else 1000
    assert (window.canary.n, window.stable.n) == (unit, unit)
    assert window.canary.bad == window.stable.bad == (unit * 8 // 10, unit // 2)


def test_lower_can_be_worse() -> None:
    before, after = rate_samples(CANARY, "c", 0, 0), rate_samples(CANARY, "c", 10, 8)
    canary = grown(before, after, small_set(direction="lower-is-worse")).counts["errors"].canary
    assert canary == ArmCounts(n=10, bad=(2,), pods=1)


ENDS = small_set(direction="lower-is-worse")


def lost(*scrapes: tuple[float, float]) -> tuple[list[int], tuple[str, ...]]:
    """Of each window what began and did not end well, by totals of (begun, well ended); the last notes."""
    counter = counts.Counter(ENDS, CANARY, STABLE)
    seen = []
    for time, (begun, ended) in enumerate(scrapes):
        samples = rate_samples(CANARY, "c", begun, ended) + rate_samples(STABLE, "s", 0, 0)
        seen.append(counter.observe(snapshot(10.0 * time, *samples)))
    return [each.counts["errors"].canary.bad[0] for each in seen if each], counter.notes


def test_an_end_that_is_counted_before_its_beginning_is_settled_in_the_next_window() -> None:
    """A server counts the end of an answer, then the request; it is scraped in between."""
    assert lost((0, 0), (10, 11), (20, 20), (30, 30)) == ([0, 0, 0], ())
    assert lost((0, 0), (10, 12), (20, 20), (30, 30)) == ([0, 0, 0], ())
    assert lost((0, 0), (10, 11), (20, 18), (30, 28)) == ([0, 2, 0], ())


def test_what_is_far_ahead_hides_nothing_for_long_and_is_said() -> None:
    """Two answers to each request."""
    assert lost((0, 0), (100, 200), (200, 300), (300, 350))[0] == [0, 0, 50 - 2 - 5]
    _, notes = lost((0, 0), (100, 200))
    assert notes == (
        "errors: at c more ended well than were asked for: several answers to one request, or requests by "
        "another way. Lost ones may hide behind them",
    )


def test_a_metric_that_nobody_exports_is_absent() -> None:
    assert set(grown(OLD, OLD).counts) == {"errors"}


@pytest.mark.parametrize(("before", "after"), [([], OLD), (OLD, [])])
def test_a_scrape_gap_makes_no_window(before: list[Any], after: list[Any]) -> None:
    assert last_window(RATES, CANARY, STABLE, [snapshot(0, *before), snapshot(1, *after)]) is None


def test_gaps_merge_into_the_next_window_and_lose_nothing() -> None:
    def at(time: float, total: float) -> Snapshot:
        return snapshot(time, *rate_samples(CANARY, "c", total, 0), *rate_samples(STABLE, "s", 2 * total, 0))

    full = [at(0, 0), at(10, 5), at(20, 11), at(30, 18), at(40, 20)]
    gaps = [None, full[0], None, full[2], snapshot(30), full[4]]
    whole = windows(RATES, CANARY, STABLE, full)
    holed = windows(RATES, CANARY, STABLE, gaps)
    assert [(w.start, w.end) for w in holed] == [(0, 20), (20, 40)]
    assert (
        sum(w.counts["errors"].canary.n for w in whole)
        == sum(w.counts["errors"].canary.n for w in holed)
        == 20
    )


def test_other_pools_are_not_counted() -> None:
    stranger = Arm("inference_pool", "newer", "default")
    assert errors(rate_samples(stranger, "x", 9, 0), rate_samples(stranger, "x", 99, 9)).pods == 0


@pytest.mark.parametrize("arm", [CANARY, STABLE])
def test_dispersion_is_pearsons_test_between_the_pods_of_an_arm(arm: Arm) -> None:
    before = [s for pod in "abc" for s in rate_samples(arm, pod, 0, 0)]
    after = rate_samples(arm, "a", 100, 10) + rate_samples(arm, "b", 100, 20) + rate_samples(arm, "c", 0, 0)
    metric = grown(before, after).counts["errors"]
    expected, nothing = pytest.approx((2 * 25 / (100 * 0.15 * 0.85),)), ((0.0,), (0,))
    if arm == STABLE:
        assert (metric.df, metric.lasting_df) == ((1,), (1,))
        assert metric.chi2 == metric.lasting_chi2 == expected
        assert (metric.canary_chi2, metric.canary_df) == nothing
    else:
        assert metric.canary_chi2 == expected
        assert metric.canary_df == (1,)
        assert (metric.chi2, metric.df) == (metric.lasting_chi2, metric.lasting_df) == nothing


@pytest.mark.parametrize(("a", "b"), [((100, 0), (100, 0)), ((100, 100), (5, 5)), ((100, 3), (0, 0))])
def test_dispersion_is_silent_where_nothing_can_be_told(a: Any, b: Any) -> None:
    before = rate_samples(STABLE, "a", 0, 0) + rate_samples(STABLE, "b", 0, 0)
    metric = grown(before, rate_samples(STABLE, "a", *a) + rate_samples(STABLE, "b", *b)).counts["errors"]
    assert (metric.chi2, metric.df) == ((0.0,), (0,))


def test_the_grid_is_anchored_and_waits_for_late_metrics() -> None:
    grid = counts.Grid(100, 5, delay=1)
    assert grid.missed(0, now=112, most=9) == [100, 105, 110]
    assert grid.missed(1, now=110.9, most=9) == [105]
    assert grid.missed(2, now=110.9, most=9) == []
    assert grid.missed(0, now=99, most=9) == []


@pytest.mark.parametrize("passed", [1, 2, 7, 119, 120, 121, 240, 999, 10**9])
@pytest.mark.parametrize("done", [0, 1, 2, 40])
def test_many_missed_ticks_are_the_first_two_and_then_thinned_evenly_to_the_newest(
    passed: int, done: int
) -> None:
    grid, newest = counts.Grid(100, 5), 100 + 5 * (passed - 1)
    found = grid.missed(done, now=newest, most=120)
    first = [each for each in (100, 105) if 100 + 5 * done <= each <= newest]
    assert found[: len(first)] == first
    assert min(max(0, passed - done), 60) <= len(found) <= 120
    if passed > done:
        assert found[-1] == newest
    rest = found[len(first) :]
    assert len({later - earlier for earlier, later in pairwise(rest)}) <= 1
    if passed - done <= 120:
        assert found == [100 + 5 * place for place in range(done, passed)]


@pytest.mark.parametrize(
    ("times", "before"),
    [
        ([], 0),
        ([5.0], 0),
        ([5.0, 9.0], 0),
        ([0.0, 5.0, 10.0], 0),
        ([0.0, 1.0, 5.0, 14.0, 23.0], 2),
        ([0.0, 1.0, 10.0, 19.0], 1),
        ([1.0, 3.0, 12.0, 21.0], 1),
    ],
)
def test_times_that_do_not_rise_as_evenly_as_those_after_them(times: list[float], before: int) -> None:
    assert counts.uneven(times) == before


@pytest.mark.parametrize(
    ("done", "passed", "places"),
    [
        (0, 0, []),
        (0, 1, [0]),
        (0, 2, [0, 1]),
        (0, 3, [0, 1, 2]),
        (0, 999, [0, 1, 998]),
        (1, 1, []),
        (1, 2, [1]),
        (1, 999, [1, 998]),
        (2, 2, []),
        (2, 999, [998]),
    ],
)
def test_the_fewest_ticks_show_which_series_there_are_and_all_that_happened(
    done: int, passed: int, places: list[int]
) -> None:
    grid = counts.Grid(100, 5)
    assert grid.fewest(done, now=100.0 + 5 * (passed - 1)) == [100.0 + 5 * place for place in places]


def test_missing_metrics_and_thresholds_are_named() -> None:
    pods = snapshot(0, *buckets("c", {"0.5": 1, "+Inf": 2}))
    assert counts.missing(RATES, CANARY, pods) == [
        'errors: new exports no requests_total{handler="/v1"}',
        "ttft: new has no bucket bound at [1.0] s",
    ]
    assert counts.missing(small_set(optional=True), CANARY, pods) == [
        "ttft: new has no bucket bound at [1.0] s"
    ]


def test_prometheus_vectors_are_read() -> None:
    vector = [{"metric": {"pod": "a"}, "value": [5, "12"]}, {"metric": {}, "value": [5, "NaN"]}]
    scrape = Snapshot.of_vectors(5, {"counts": vector})
    assert scrape.samples["counts"][0] == ({"pod": "a"}, 12.0)


def test_windows_survive_json() -> None:
    window = grown(OLD, OLD)
    assert WindowCounts.from_json(window.to_json()) == window


def test_a_counter_that_jumps_beyond_belief_is_left_out() -> None:
    assert errors(rate_samples(CANARY, "c", 5, 0), rate_samples(CANARY, "c", 2e15, 0)).pods == 0


def test_the_order_of_an_answer_changes_no_bit() -> None:
    """Sums of fractions depend on their order: pods are always taken in the same one."""
    before = [s for pod in "abcdef" for s in rate_samples(STABLE, pod, 0, 0)]
    after = [s for i, pod in enumerate("abcdef") for s in rate_samples(STABLE, pod, 97 + 13 * i, 1 + i * i)]
    values = {grown(before, after[k:] + after[:k]).counts["errors"].chi2 for k in range(0, 12, 2)} | {
        grown(before, after[::-1]).counts["errors"].chi2
    }
    assert len(values) == 1
