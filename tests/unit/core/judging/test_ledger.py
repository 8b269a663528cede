"""Raw series: whatever scrapes a pod, however its processes count, growth is what clients caused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counts import Counter, Snapshot
from inference_rollouts.core.judging.labels import LabelSets
from inference_rollouts.core.judging.labels import Samples as Packed
from inference_rollouts.core.judging.window_counts import ArmCounts, WindowCounts
from tests.support.judging import CANARY, STABLE, rate_samples, sample, small_set, snapshot

SET = small_set()
Samples = list[tuple[dict[str, str], float]]


def pod(
    arm: Arm, name: str, total: float, bad: float | None = None, started: float = 1.0, **labels: str
) -> Samples:
    """One target of a pod, whose series all carry `labels`."""
    samples = [sample(arm, name, "started", started), *rate_samples(arm, name, total, bad)]
    return [({**each, **labels}, value) for each, value in samples]


def packed(time: float, series: Samples) -> Snapshot:
    """As readers of answers give them."""
    labels, values = zip(*series, strict=True)
    return Snapshot(time, {"": Packed(LabelSets.of(labels), values)})


def stable(total: float = 100) -> Samples:
    return pod(STABLE, "s", total, 1)


def counted(*observations: Samples) -> tuple[list[WindowCounts | None], Counter]:
    """The windows after the first observation; they are ten seconds apart, from 100 on."""
    counter = Counter(SET, CANARY, STABLE)
    seen = [counter.observe(snapshot(100.0 + 10 * i, *each)) for i, each in enumerate(observations)]
    return seen[1:], counter


def errors(windows: Iterable[WindowCounts | None]) -> list[tuple[int, int] | None]:
    """Requests and failures of the canary, window by window; None where nothing could be counted."""

    def of(arm: ArmCounts) -> tuple[int, int] | None:
        return (arm.n, arm.bad[0]) if arm.pods else None

    return [of(window.counts["errors"].canary) if window else None for window in windows]


def twice(total: float, *missing: str) -> Samples:
    """A pod that two targets scrape, and what one of them shows."""
    both = [name for name in ("vllm", "sidecar") if name not in missing]
    return [each for name in both for each in pod(CANARY, "c", total, total / 100, container=name)]


class TestSeveralTargets:
    def test_a_pod_is_counted_once_whatever_scrapes_it(self) -> None:
        windows, _ = counted(twice(1000) + stable(), twice(1100) + stable())
        assert errors(windows) == [(100, 1)]

    def test_so_it_is_where_no_start_time_tells_them_apart(self) -> None:
        """As of several API servers in one pod, and of gateways."""

        def unstarted(total: float, *missing: str) -> Samples:
            return [each for each in twice(total, *missing) if each[0]["series"] != "started"]

        seen = [unstarted(1000), unstarted(1100), unstarted(1200, "vllm"), unstarted(1300), unstarted(1400)]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [(100, 1)] * 4

    @pytest.mark.parametrize("away", ["vllm", "sidecar"])
    def test_a_scrape_that_one_of_them_misses_changes_nothing(self, away: str) -> None:
        """Summed first, the pod's counter halves and doubles: thousands of old requests in one window."""
        seen = [twice(3600), twice(3700), twice(3800, away), twice(3900, away), twice(4000), twice(4100)]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [(100, 1)] * 5

    @pytest.mark.parametrize("begun", ["ab", "a", "b", ""])
    @pytest.mark.parametrize(
        "label", ["prometheus_replica", "replica", "__replica__", "thanos_replica", "prometheus"]
    )
    def test_pairs_of_stores_that_scrape_alike_are_told_apart_by_their_labels(
        self, label: str, begun: str
    ) -> None:
        """Also where only one of them, or none, has the start times."""

        def pair(total: float) -> Samples:
            both = [(name, s) for name in "ab" for s in pod(CANARY, "c", total, 0, 1.0, **{label: name})]
            return [s for name, s in both if name in begun or s[0]["series"] != "started"]

        seen = [pair(500), pair(540), pair(600), pair(600)]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [(40, 0), (60, 0), (0, 0)]

    def test_a_start_time_from_a_scrape_of_its_own_is_that_of_all_that_the_pod_counts(self) -> None:
        def pair(total: float, started: float) -> Samples:
            begun, *rest = pod(CANARY, "c", total, 0, started)
            return [({**begun[0], "job": "a"}, begun[1]), *(({**each, "job": "b"}, n) for each, n in rest)]

        seen = [each + stable() for each in (pair(500, 1), pair(540, 1), pair(7, 115), pair(9000, 125))]
        windows, _ = counted(*seen)
        in_arrays = Counter(SET, CANARY, STABLE)
        again = [in_arrays.observe(packed(100.0 + 10 * i, each)) for i, each in enumerate(seen)]
        assert errors(windows) == errors(again[1:]) == [(40, 0), (7, 0), (9000, 0)]


class TestFalls:
    def test_worker_processes_that_count_for_themselves_count_nothing_and_are_named(self) -> None:
        """Each scrape meets another worker: a saw-tooth, of which no start time says that it is a restart."""
        saw = [pod(CANARY, "c", total, 0) for total in (1000, 40, 1020, 60)]
        windows, counter = counted(*(each + stable(100 + 50 * i) for i, each in enumerate(saw)))
        assert errors(windows)[0] is None
        assert windows[0]
        assert windows[0].counts["errors"].stable.pods == 0, "left out on both arms"
        assert errors(windows)[2] is None
        assert counter.notes == ("errors: counters of c fell without a restart",)

    def test_start_times_that_go_back_are_those_of_several_processes(self) -> None:
        saw = [pod(CANARY, "c", 500, 0, started=s) for s in (50, 80, 50, 80)]
        windows, counter = counted(*(each + stable() for each in saw))
        assert errors(windows)[1:] == [None, None]
        assert counter.notes

    def test_a_restart_counts_from_its_start(self) -> None:
        windows, _ = counted(
            pod(CANARY, "c", 900, 9) + stable(), pod(CANARY, "c", 30, 3, started=105) + stable()
        )
        assert errors(windows) == [(30, 3)]

    def test_a_restart_while_nobody_looked_counts_nothing(self) -> None:
        seen = [
            pod(CANARY, "c", 900, 9),
            [],
            pod(CANARY, "c", 30, 3, started=105),
            pod(CANARY, "c", 40, 3, started=105),
        ]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [None, None, (10, 0)]


class TestHoles:
    def test_a_series_that_goes_and_comes_back_brings_nothing_of_its_past(self) -> None:
        """Its 5xx are missing from one answer: no storm of all failures since the pod began."""
        seen = [
            pod(CANARY, "c", 1000, 50),
            pod(CANARY, "c", 1100),
            pod(CANARY, "c", 1200, 51),
            pod(CANARY, "c", 1300, 52),
        ]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [None, None, (100, 1)]

    def test_a_bucket_that_is_missing_from_one_answer_makes_nobody_slow(self) -> None:
        def ttft(total: float, *missing: str) -> Samples:
            buckets = {"0.5": total, "1": total, "+Inf": total}
            return [
                sample(CANARY, "c", "started", 1.0),
                *(sample(CANARY, "c", "ttft/le/0", v, le) for le, v in buckets.items() if le not in missing),
            ]

        for away in ("0.5", "1", "+Inf"):
            seen = [ttft(1000), ttft(1100, away), ttft(1200), ttft(1300)]
            windows, _ = counted(*(each + stable() for each in seen))
            arms = [window.counts["ttft"].canary for window in windows if window and "ttft" in window.counts]
            assert [arm.n for arm in arms if arm.pods] == [100]
            assert all(arm.bad == (0, 0) for arm in arms)

    def test_a_series_that_was_never_there_begins_at_nothing(self) -> None:
        """Of a pod that was seen without it before: the first answer alone may just have lacked it."""
        seen = [pod(CANARY, "c", 900), pod(CANARY, "c", 1000), pod(CANARY, "c", 1100, 7)]
        windows, _ = counted(*(each + stable() for each in seen))
        assert errors(windows) == [(100, 0), (100, 7)]
        late = [pod(CANARY, "c", 1000), pod(CANARY, "c", 1100, 400), pod(CANARY, "c", 1200, 401)]
        windows, _ = counted(*(each + stable() for each in late))
        assert errors(windows) == [None, (100, 1)]

    def test_a_baseline_without_pods_is_replaced(self) -> None:
        windows, _ = counted([], pod(CANARY, "c", 1000) + stable(), pod(CANARY, "c", 1010) + stable())
        assert errors(windows) == [None, (10, 0)]


def test_foreign_pods_that_the_cluster_does_not_have_are_left_out_and_named() -> None:
    """Another cluster writes to the same store: same namespace, same pool name, other pods."""
    counter = Counter(SET, CANARY, STABLE)
    windows = []
    for i in range(2):
        here = pod(CANARY, "c", 100 + 50 * i, i) + stable(100 + 50 * i)
        here += [sample(CANARY, "picker-of-c", "started", 1.0)]
        theirs = pod(CANARY, "x", 100 + 500 * i, 400 * i) + pod(STABLE, "y", 100 + 500 * i, 400 * i)
        windows.append(counter.observe(Snapshot(100.0 + 10 * i, {"counts": here + theirs}), {"c", "s"}))
    assert errors(windows[1:]) == [(50, 1)]
    assert counter.notes == ("Not counted, as they are not in this cluster's pools: x, y",)
