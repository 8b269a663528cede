import pytest

from inference_rollouts.core.judging.counts import ArmCounts, Counts, WindowCounts
from inference_rollouts.core.judging.split import Split, observed_split


def window(canary: int, stable: int) -> WindowCounts:
    arms = (ArmCounts(n=n, bad=(0,), pods=1) for n in (canary, stable))
    counts = Counts(canary=next(arms), stable=next(arms), chi2=0.0, df=0)
    return WindowCounts(start=0.0, end=1.0, counts={"errors": counts})


@pytest.mark.parametrize(
    ("declared", "observed", "requests", "matches"),
    [
        (0.05, 0.05, 1000, True),
        (0.05, 0.14, 1000, True),
        (0.05, 0.20, 1000, False),
        (0.05, 0.30, 20, False),
        (0.05, 0.25, 20, True),
        (0.50, 0.00, 30, False),
        (1.00, 1.00, 10, True),
        (1.00, 0.85, 10, False),
        (0.05, None, 0, False),
    ],
)
def test_a_share_may_be_off_by_a_tenth_or_by_chance(
    declared: float, observed: float | None, requests: int, matches: bool
) -> None:
    assert Split(declared, observed, requests).matches is matches


@pytest.mark.parametrize(
    ("observed", "requests", "matches"),
    [(0.02, 1000, True), (0.25, 1000, True), (0.34, 1000, True), (0.4, 1000, False), (0.0, 1000, False)],
)
def test_of_a_shared_pool_the_share_is_only_known_from_above(
    observed: float, requests: int, matches: bool
) -> None:
    split = Split(0.25, observed, requests, shared=True)
    assert split.matches is matches
    assert "at most 25%" in str(split)


def test_of_a_shared_pool_every_window_counts() -> None:
    split = observed_split([window(5, 95), window(0, 900)], "errors", 0.5, enough=50, shared=True)
    assert split == Split(0.5, 0.005, 1000, shared=True)
    assert split.matches


def test_the_latest_windows_count_and_no_more_than_needed() -> None:
    old, new = window(0, 1000), window(30, 30)
    assert observed_split([old, new], "errors", 0.5, enough=50) == Split(0.5, 0.5, 60)
    assert observed_split([old, new], "errors", 0.5, enough=100) == Split(0.5, 30 / 1060, 1060)


def test_without_requests_nothing_is_seen() -> None:
    split = observed_split([window(0, 0)], "errors", 0.05, enough=50)
    assert split.observed is None
    assert "no requests" in str(split)
    assert observed_split([window(9, 9)], "other", 0.05, enough=50).observed is None
