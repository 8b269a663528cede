from collections.abc import Mapping

import pytest

from inference_rollouts.core.judging.split import WINDOWS, Latest, Requests, Split, observed_split
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts
from tests.support.judging import with_gateway


def window(canary: int, stable: int) -> Requests:
    return Requests(0.0, 1.0, {"errors": (canary, stable)})


def counts_of(canary: int, stable: int) -> Counts:
    arms = (ArmCounts(n=n, bad=(0,), pods=1) for n in (canary, stable))
    return Counts(
        canary=next(arms),
        stable=next(arms),
        chi2=(0.0,),
        df=(0,),
        lasting_chi2=(0.0,),
        lasting_df=(0,),
        canary_chi2=(0.0,),
        canary_df=(0,),
    )


@pytest.mark.parametrize(
    ("declared", "observed", "requests", "matches"),
    [
        (0.05, 0.05, 1000, True),
        (0.05, 0.06, 100_000, True),
        (0.05, 0.015, 200, True),
        (0.05, 0.015, 1000, False),
        (0.05, 0.14, 1000, False),
        (0.05, 0.00, 50, True),
        (0.05, 0.00, 300, False),
        (0.05, 0.25, 20, True),
        (0.05, 0.50, 20, False),
        (0.50, 0.00, 30, False),
        (0.95, 0.985, 1000, False),
        (1.00, 1.00, 10, True),
        (1.00, 0.995, 10_000, True),
        (1.00, 0.85, 10, True),
        (1.00, 0.85, 100, False),
        (0.05, None, 0, False),
    ],
)
def test_a_share_may_be_off_in_proportion_or_by_chance(
    declared: float, observed: float | None, requests: int, matches: bool
) -> None:
    assert Split(declared, observed, requests).matches is matches


@pytest.mark.parametrize(
    ("observed", "requests", "matches"),
    [(0.02, 1000, True), (0.25, 1000, True), (0.29, 1000, True), (0.4, 1000, False), (0.0, 1000, False)],
)
def test_of_a_shared_pool_the_share_is_only_known_from_above(
    observed: float, requests: int, matches: bool
) -> None:
    split = Split(0.25, observed, requests, shared=True)
    assert split.matches is matches
    assert "at most 25%" in str(split)


def test_a_canary_that_loses_most_of_its_requests_on_the_way_is_not_at_its_share() -> None:
    """At 5 % it gets 1.5 % of what the servers count: 70 % of its requests never reach them."""
    windows = [window(3, 190)] * 20
    split = observed_split(windows, "errors", 0.05, least=50)
    assert not split.matches
    assert str(split) == "the canary should get 5% and was seen to get 1.6% of 3860 requests"


def test_of_a_shared_pool_every_window_counts() -> None:
    split = observed_split([window(5, 95), window(0, 900)], "errors", 0.5, least=50, shared=True)
    assert split == Split(0.5, 0.005, 1000, shared=True)
    assert split.matches


def test_the_latest_windows_count_and_no_more_than_needed() -> None:
    old, new = window(0, 1000), window(150, 150)
    assert observed_split([old, new], "errors", 0.5, least=50) == Split(0.5, 0.5, 300)
    assert observed_split([old, new], "errors", 0.5, least=500) == Split(0.5, 150 / 1300, 1300)


def test_without_requests_nothing_is_seen() -> None:
    split = observed_split([window(0, 0)], "errors", 0.05, least=50)
    assert split.observed is None
    assert "no requests" in str(split)
    assert observed_split([window(9, 9)], "other", 0.05, least=50).observed is None


def never(requests: Mapping[str, tuple[int, int]]) -> bool:
    return False


def test_of_the_latest_windows_only_requests_are_kept() -> None:
    latest = Latest(with_gateway(), never)
    every = dict.fromkeys(("errors", "gateway_errors", "ttft"), counts_of(5, 7))
    for number in range(WINDOWS + 2):
        latest.add(WindowCounts(start=float(number), end=number + 1.0, counts=every))
    assert len(latest.windows) == WINDOWS
    assert latest.windows[-1].end == WINDOWS + 2
    assert latest.windows[0].counts == {"errors": (5, 7), "gateway_errors": (5, 7)}


def test_no_more_windows_are_kept_than_are_looked_back_at() -> None:
    """However long a step lasts: what was enough is enough."""
    latest = Latest(with_gateway(), lambda requests: sum(requests["errors"]) >= 100)
    for number in range(50):
        counts = {} if number % 2 else {"errors": counts_of(10, 20)}
        latest.add(WindowCounts(start=float(number), end=number + 1.0, counts=counts))
        kept = latest.windows
        assert sum(sum(each.counts.get("errors", ())) for each in kept) >= min(100, 30 * (number // 2 + 1))
    assert [each.end for each in kept] == [43, 44, 45, 46, 47, 48, 49, 50]
