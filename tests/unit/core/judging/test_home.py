"""Clusters whose metrics are in one store may have pods of the same names: ours alone are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_rollouts.core.judging.arms import Arm, Labels
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.counts import Counter, Snapshot
from inference_rollouts.core.judging.home import Known, home_of
from inference_rollouts.core.judging.labels import LabelSets, Samples
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import CANARY, STABLE, rate_samples, sample, small_set, with_gateway

SET = small_set()
HOME = (("cluster", "eu"),)
OURS, THEIRS = {"cluster": "eu"}, {"cluster": "us"}
Series = list[Sample]


def pod(arm: Arm, name: str, total: float, started: float | None = 1.0, /, **labels: str) -> Series:
    """A pod at a place, a tenth of whose requests fail."""
    begun = [] if started is None else [sample(arm, name, "started", started)]
    return [
        ({**each, **labels}, value) for each, value in (*begun, *rate_samples(arm, name, total, total / 10))
    ]


def both(n: float, theirs: float, started: float | None = 500.0, **labels: str) -> Series:
    """Pods of the same names in two clusters; ours began at 1."""
    ours = 1.0 if started is not None else None
    return [
        *pod(CANARY, "llm-0", n, ours, **OURS),
        *pod(STABLE, "old-0", n, ours, **OURS),
        *pod(CANARY, "llm-0", theirs, started, **(THEIRS | labels)),
        *pod(STABLE, "old-0", theirs, started, **(THEIRS | labels)),
    ]


def counted(*observations: Series, home: Labels = HOME) -> tuple[list[WindowCounts | None], Counter]:
    counter = Counter(SET, replace(CANARY, home=home), replace(STABLE, home=home))
    known = {"llm-0", "old-0"}
    seen = [
        counter.observe(Snapshot(100.0 + 10 * i, {"": each}), known) for i, each in enumerate(observations)
    ]
    return seen[1:], counter


def requests(windows: list[WindowCounts | None]) -> list[tuple[int, int]]:
    return [(w.counts["errors"].canary.n, w.counts["errors"].stable.n) for w in windows if w]


@pytest.mark.parametrize("started", [500.0, None])
def test_of_pods_of_one_name_the_one_at_home_is_counted(started: float | None) -> None:
    windows, counter = counted(both(0, 7000, started), both(0, 7000, started), both(20, 9000, started))
    assert requests(windows) == [(0, 0), (20, 20)]
    [note] = counter.notes
    assert note.startswith("Not counted, as they are another cluster's: llm-0, old-0 (cluster=us")


def test_where_nothing_tells_which_is_ours_none_is_counted_and_it_is_said() -> None:
    windows, counter = counted(both(0, 7000), both(20, 9000), home=())
    assert requests(windows) == []
    [note] = counter.notes
    assert "nothing tells which is this cluster's: llm-0, old-0 (cluster=eu; cluster=us)" in note


def test_a_namesake_whose_start_nobody_scrapes_is_not_taken_for_ours() -> None:
    def seen(n: float, theirs: float) -> Series:
        return [*pod(CANARY, "llm-0", n, 1.0, **OURS), *pod(CANARY, "llm-0", theirs, None, **THEIRS)]

    windows, _ = counted(seen(0, 7000), seen(0, 7000), seen(20, 9000))
    assert [n for n, _ in requests(windows)] == [0, 20]


def test_one_process_that_is_scraped_at_two_places_is_one_pod() -> None:
    windows, counter = counted(*(both(n, n, 1.0) for n in (10, 10, 30)), home=())
    assert requests(windows) == [(0, 0), (20, 20)]
    assert counter.notes == ()


def test_what_requests_are_labelled_with_is_no_place_of_a_pod() -> None:
    def seen(n: float) -> Series:
        begun, *rest = pod(CANARY, "llm-0", n)
        tenants = [({**labels, "tenant": each}, value) for labels, value in rest for each in "ab"]
        return [begun, *tenants]

    windows, counter = counted(seen(10), seen(10), seen(30), home=())
    assert [n for n, _ in requests(windows)] == [0, 40]
    assert counter.notes == ()


def test_the_same_series_once_more_are_counted_in_arrays_as_well() -> None:
    arms = replace(CANARY, home=HOME), replace(STABLE, home=HOME)
    quick, plain = Counter(SET, *arms), Counter(SET, *arms)
    for i, (n, theirs) in enumerate([(0, 7000), (0, 7000), (20, 9000), (50, 9900)]):
        series = both(n, theirs)
        packed = Samples(LabelSets.of([labels for labels, _ in series]), [value for _, value in series])
        known = {"llm-0", "old-0"}
        windows = [
            each.observe(Snapshot(10.0 * i, {"": s}), known) for each, s in ((quick, packed), (plain, series))
        ]
        assert windows[0] == windows[1]
    assert quick._again is not None
    assert quick.notes == plain.notes != ()


def gateway(cluster: str, instance: str, n: float) -> Series:
    """What a replica of a gateway says of both pools, which it calls `cluster`; `k8s_cluster` is a place."""
    return [
        (
            {"cluster": f"default_{arm.value}", "k8s_cluster": cluster, "instance": instance}
            | {"series": f"gateway_errors/{part}/0"},
            value,
        )
        for arm in (CANARY, STABLE)
        for part, value in (("total", n), ("bad", 0.0))
    ]


@pytest.mark.parametrize(("home", "n"), [("eu", 10), ("else", 60)])
def test_of_gateways_those_of_another_cluster_do_not_count_where_ours_does(home: str, n: int) -> None:
    """A gateway may be elsewhere, and then nothing tells whose it is but the names of pools."""
    label = (("k8s_cluster", home),)
    counters = Counters(with_gateway(), replace(CANARY, home=label), replace(STABLE, home=label))
    windows = [
        counters.observe(
            Snapshot(
                10.0 * i,
                {
                    "counts": [*pod(CANARY, "c", 0), *pod(STABLE, "s", 0)],
                    "counts/gateway": [
                        *gateway("eu", "10.0.0.1", 10.0 * i),
                        *gateway("us", "10.0.0.2", 50.0 * i),
                    ],
                },
            )
        )
        for i in range(3)
    ]
    assert windows[-1] is not None
    assert windows[-1].counts["gateway_errors"].canary.n == n


class TestHome:
    def test_a_namesake_that_began_when_our_container_did_is_ours(self) -> None:
        own = {"old-0": Known((498.0,))}
        home = home_of(both(1, 1), "pod", own)
        assert home.labels == home.apart == (("cluster", "us"),)

    def test_the_name_of_who_scraped_tells_clusters_where_nothing_else_does(self) -> None:
        series = [
            *pod(STABLE, "old-0", 1, 1.0, prometheus="eu"),
            *pod(STABLE, "old-0", 1, 500.0, prometheus="us"),
        ]
        assert home_of(series, "pod", {"old-0": Known((1.0,))}).apart == (("prometheus", "eu"),)

    def test_else_ours_is_where_all_our_pods_are(self) -> None:
        own = {"old-0": Known(), "old-1": Known()}
        home = home_of([*both(1, 1), *pod(STABLE, "old-1", 1, **OURS)], "pod", own)
        assert home.labels == home.apart == HOME
        assert home.twins.keys() == {"old-0"}

    def test_a_pod_that_may_not_be_scraped_yet_tells_nothing(self) -> None:
        """Theirs of that name may have been there for long."""
        own = {"old-0": Known(), "old-1": Known(settled=False)}
        home = home_of([*both(1, 1), *pod(STABLE, "old-1", 1, **THEIRS)], "pod", own)
        assert home.apart is None

    @pytest.mark.parametrize(
        "own", [{"old-0": Known()}, {"old-0": Known((2.0, 499.0))}, {"old-0": Known((9000.0,))}]
    )
    def test_it_is_told_where_nothing_tells(self, own: dict[str, Known]) -> None:
        home = home_of(both(1, 1), "pod", own)
        assert home.apart is None
        assert home.twins == {"old-0": {frozenset(OURS.items()), frozenset(THEIRS.items())}}

    def test_as_few_labels_as_tell_are_asked_for_and_the_surest(self) -> None:
        ours, theirs = OURS | {"env": "blue", "region": "r"}, THEIRS | {"env": "green", "region": "r"}
        series = [*pod(STABLE, "old-0", 1, **ours), *pod(STABLE, "old-0", 1, 500.0, **theirs)]
        home = home_of(series, "pod", {"old-0": Known((1.0,))})
        assert home.apart == HOME
        assert home.labels == (("cluster", "eu"), ("env", "blue"), ("region", "r"))

    def test_without_namesakes_nothing_has_to_be_told_apart(self) -> None:
        series = [*pod(STABLE, "old-0", 1, **OURS), *pod(STABLE, "theirs-0", 1, 500.0, **THEIRS)]
        home = home_of(series, "pod", {"old-0": Known()})
        assert (home.labels, home.apart) == (HOME, ())

    def test_without_series_nothing_is_known(self) -> None:
        assert home_of([], "pod", {"old-0": Known()}).labels is None
