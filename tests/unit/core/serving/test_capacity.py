""""""

from collections.abc import Sequence
from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.serving.capacity import (
    Capacity,
    Pool,
    raise_readiness,
    room,
    rooms,
)

UNKNOWN = None


def pod(*args: str, command: Sequence[str] = ()) -> dict[str, Any]:
    return {"spec": {"containers": [{"command": list(command), "args": list(args)}]}}


@pytest.mark.parametrize(
    ("pods", "declared", "per_pod"),
    [
        ([pod("--max-num-seqs=64"), pod("--max-num-seqs=128")], None, 96),
        ([pod(command=["vllm", "serve", "--max-num-seqs", "32"])], None, 32),
        ([pod("--max-num-seqs=64"), pod()], None, None),
        ([pod("--max-num-seqs=64")], 10, 10),
        ([], None, None),
    ],
)
def test_what_the_plan_does_not_say_the_pods_do(
    pods: list[Any], declared: int | None, per_pod: int | None
) -> None:
    assert Pool.of("p", pods, declared) == Pool("p", len(pods), per_pod)


@pytest.mark.parametrize(
    ("pods", "per_pod", "percent", "load", "needed"),
    [
        (3, 64, 50, 180, 2),
        (3, 64, 100, 180, 4),
        (3, 64, 100, 153.6, 3),
        (3, 64, 1, 0.5, 1),
        (0, 64, 50, 180, 1),
        # Counted in pods: 3 carried all.
        (3, 64, 50, UNKNOWN, 2),
        (3, 64, 100, UNKNOWN, 3),
        (3, 64, 5, UNKNOWN, 1),
        (3, 64, 100, 0, 3),
        (3, UNKNOWN, 34, 10_000, 2),
    ],
)
def test_how_many_pods_a_share_needs(
    pods: int, per_pod: Any, percent: int, load: float | None, needed: int
) -> None:
    estimate = room(Pool("new", pods, per_pod), percent, load, 0.8, 3)
    assert estimate.needed == needed
    assert estimate.enough is (pods >= needed)


@pytest.mark.parametrize(
    ("pods", "per_pod", "percent", "load", "words"),
    [
        (3, 64, 50, 180, "new has 3 ready pods for 50 % of 180 requests in flight: 30 each, 51 allowed"),
        (1, 64, 50, 180, "new has 1 ready pod for 50 % of 180 requests in flight: 90 each, 51 allowed"),
        (0, 64, 50, 180, "new has no ready pods"),
        (
            1,
            64,
            100,
            UNKNOWN,
            "1 ready pod, 3 needed for 100 % of the requests (counted in pods: the requests",
        ),
        (1, 64, 100, 0, "no request is in flight"),
        (1, UNKNOWN, 100, 9, "nothing says how many requests one runs at once"),
    ],
)
def test_the_sentence_has_the_figures(
    pods: int, per_pod: Any, percent: int, load: float | None, words: str
) -> None:
    assert words in room(Pool("new", pods, per_pod), percent, load, 0.8, 3).message


def test_stable_may_be_used_in_full_and_the_canary_may_not() -> None:
    stable, canary = rooms(Capacity(), Pool("old", 3, 64), Pool("new", 3, 64), 100, 190, 3)
    assert (stable.enough, canary.enough) == (True, False)


def test_pods_that_run_more_at_once_may_be_fewer_when_pods_are_counted() -> None:
    _, canary = rooms(Capacity(), Pool("old", 4, 64), Pool("new", 2, 128), 100, UNKNOWN, 4)
    assert canary.enough
    _, canary = rooms(Capacity(), Pool("old", 4, UNKNOWN), Pool("new", 2, 128), 100, UNKNOWN, 4)
    assert not canary.enough, "one pod is worth another, as far as anybody knows"


def test_measured_load_says_that_fewer_pods_suffice() -> None:
    stable, _ = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, 40, 3)
    assert stable.enough
    stable, _ = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, UNKNOWN, 3)
    assert not stable.enough


def test_what_is_lacking_is_said_alone() -> None:
    estimates = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, 180, 3)
    seen = raise_readiness(estimates)
    assert seen.phase is Phase.WAITING
    assert seen.message.startswith("old has 1 ready pod")
    assert "new" not in seen.message
    assert (
        "new" in raise_readiness(rooms(Capacity(), Pool("old", 3, 64), Pool("new", 3, 64), 5, 9, 3)).message
    )


def test_declared_for_both_pools_unless_stable_has_its_own() -> None:
    assert Capacity(per_pod=50).declared_stable == 50
    assert Capacity(per_pod=50, stable_per_pod=20).declared_stable == 20
    assert Capacity().declared_stable is None
