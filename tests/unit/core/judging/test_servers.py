"""Pods with a server at each of several ports, as of data parallel ranks: each is counted, and by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.counts import Counter, Snapshot
from inference_rollouts.core.judging.labels import Labels, LabelSets, Samples
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import CANARY, STABLE, rate_samples, sample, small_set

SET = small_set()
PORTS = (("8000", "first"), ("8001", "second"))
NEW, OLD = replace(CANARY, ports=PORTS), replace(STABLE, ports=PORTS)
Series = list[tuple[dict[str, str], float]]


def target(arm: Arm, total: float, bad: float | None = None, started: float = 1.0, **more: str) -> Series:
    """One target of the arm's pod, whose series all carry these labels."""
    labels, pod = {"job": "vllm", **more}, arm.value[0]
    samples = [sample(arm, pod, "started", started), *rate_samples(arm, pod, total, bad)]
    return [({**each, **labels}, value) for each, value in samples]


def at(
    port: int, total: float, bad: float | None = None, started: float = 1.0, arm: Arm = NEW, **more: str
) -> Series:
    return target(arm, total, bad, started, **({"instance": f"10.0.0.1:{port}"} | more))


def stable() -> Series:
    return [*at(8000, 100, 1, arm=OLD), *at(8001, 100, 1, arm=OLD)]


def counted(*observations: Series) -> tuple[list[WindowCounts | None], Counter]:
    """The windows after the first observation; ten seconds apart, from 100 on."""
    counter = Counter(SET, NEW, OLD)
    seen = [counter.observe(Snapshot(100.0 + 10 * i, {"": each})) for i, each in enumerate(observations)]
    return seen[1:], counter


def errors(windows: Sequence[WindowCounts | None]) -> list[tuple[int, int, int]]:
    """Requests and failures of the canary, and its pods, window by window."""
    arms = [window.counts["errors"].canary for window in windows if window]
    return [(arm.n, arm.bad[0], arm.pods) for arm in arms]


def test_every_server_of_a_pod_is_counted_and_the_pod_is_one_that_repeats() -> None:
    windows, _ = counted(
        [*at(8000, 1000, 10), *at(8001, 2000, 20), *stable()],
        [*at(8000, 1100, 11), *at(8001, 2200, 25), *stable()],
    )
    assert errors(windows) == [(300, 6, 1)]


def test_one_server_alone_starts_anew() -> None:
    """Its counters begin at 0 again; those of the others go on."""
    windows, counter = counted(
        [*at(8000, 1000, 10), *at(8001, 2000, 20), *stable()],
        [*at(8000, 1100, 11), *at(8001, 30, 3, started=105), *stable()],
        [*at(8000, 1200, 12), *at(8001, 60, 3, started=105), *stable()],
    )
    assert errors(windows) == [(130, 4, 1), (130, 1, 1)]
    assert counter.notes == ()


def test_counters_of_one_server_that_fall_without_a_restart_are_said() -> None:
    windows, counter = counted(
        [*at(8000, 1000, 10), *at(8001, 2000, 20), *stable()],
        [*at(8000, 1100, 11), *at(8001, 30, 3), *stable()],
    )
    assert errors(windows) == [(0, 0, 0)]
    assert counter.notes == ("errors: counters of n fell without a restart",)


def test_what_a_server_did_before_it_was_scraped_is_not_counted() -> None:
    """Of the ports one is not shown at first: its past is not this window's, the other goes on."""
    windows, _ = counted(
        [*at(8000, 1000, 10), *stable()],
        [*at(8000, 1100, 11), *stable()],
        [*at(8000, 1200, 12), *at(8001, 5000, 50), *stable()],
        [*at(8000, 1300, 13), *at(8001, 5100, 51), *stable()],
    )
    assert errors(windows) == [(100, 1, 1), (100, 1, 1), (200, 2, 1)]


def test_a_server_whose_start_is_missing_is_not_taken_for_the_other() -> None:
    """Its counters, given to the only start that is shown, would be thousands of new requests."""
    whole = [[*at(8000, n, 1), *at(8001, 9 * n, 9), *stable()] for n in (1000, 1100, 1200)]
    holed = [(each, value) for each, value in whole[2] if not _is_start(each, ":8001")]
    windows, _ = counted(*whole[:2], holed, [*at(8000, 1300, 1), *at(8001, 11700, 9), *stable()])
    assert errors(windows)[:2] == [(1000, 0, 1), (100, 0, 1)]


def _is_start(labels: dict[str, str], port: str) -> bool:
    return labels["series"] == "started" and labels["instance"].endswith(port)


@pytest.mark.parametrize(
    "also",
    [
        lambda n: at(8000, n, 10, job="other"),
        lambda n: target(NEW, n, 10, instance="10.0.0.1:15020", container="sidecar"),
    ],
    ids=["a second monitor of one port", "a sidecar that tells the same at a port of its own"],
)
def test_a_server_is_counted_once_whatever_scrapes_it(also: object) -> None:
    assert callable(also)
    windows, _ = counted(
        [*at(8000, 1000, 10), *at(8001, 2000, 20), *also(1000), *stable()],
        [*at(8000, 1100, 10), *at(8001, 2200, 20), *also(1100), *stable()],
    )
    assert errors(windows) == [(300, 0, 1)]


@pytest.mark.parametrize(
    "told",
    [
        lambda port, name: {"instance": f"pod-1:{name}"},
        lambda port, name: {"instance": f"[fd00::1]:{port}"},
        lambda port, name: {"instance": "pod-1", "endpoint": name},
    ],
    ids=["Managed Prometheus", "IPv6", "Prometheus' operator"],
)
def test_stores_call_a_port_by_number_or_name(told: object) -> None:
    assert callable(told)

    def seen(first: float, second: float) -> Series:
        one, two = told(8000, "first"), told(8001, "second")
        return [*target(NEW, first, 1, **one), *target(NEW, second, 1, **two), *stable()]

    windows, _ = counted(seen(1000, 2000), seen(1100, 2200))
    assert errors(windows) == [(300, 0, 1)]


def test_pods_with_one_port_are_counted_once_as_ever() -> None:
    counter = Counter(SET, CANARY, STABLE)
    for place, n in enumerate((1000, 1100)):
        seen = Snapshot(100.0 + 10 * place, {"": [*at(8000, n, 1), *at(8001, n, 1), *stable()]})
        window = counter.observe(seen)
    assert errors([window]) == [(100, 0, 1)]


def test_servers_that_the_store_does_not_show_are_named() -> None:
    counters = Counters(SET, NEW, OLD)
    for place in range(3):
        counters.observe(Snapshot(100.0 + place, {"counts": [*at(8000, 100, 1), *stable()]}))
    own = [("servers", "n"), ("servers", "o")]
    assert counters.silent(own) == ("The metrics store has no metrics of n:8001 for small.",)


def test_a_store_that_does_not_tell_servers_apart_is_said_to() -> None:
    counters = Counters(SET, NEW, OLD)
    for place in range(3):
        counters.observe(Snapshot(100.0 + place, {"counts": [*target(NEW, 100, 1), *stable()]}))
    assert counters.silent([("servers", "n"), ("servers", "o")]) == (
        "The metrics store does not tell the servers of n apart for small (by the port at the end of "
        "`instance`, or by `endpoint`): those of one port are counted.",
    )


def test_what_is_counted_quickly_is_what_is_counted() -> None:
    """Servers of which one lacks a metric in part, over many observations of the same series."""
    quick, plain = Counter(SET, NEW, OLD), Counter(SET, NEW, OLD)
    for place in range(8):
        n = 100.0 * place
        seen = [*at(8000, 7 * n, 2 * n), *at(8001, 3 * n), *at(8000, 7 * n, 2 * n, job="b"), *stable()]
        packed = Samples(LabelSets.of([Labels.of(each) for each, _ in seen]), [value for _, value in seen])
        time = 100.0 + 10 * place
        again = quick.observe(Snapshot(time, {"": packed}))
        assert again == plain.observe(Snapshot(time, {"": seen}))
    assert quick._again is not None
    assert errors([again]) == [(1000, 200, 1)]
