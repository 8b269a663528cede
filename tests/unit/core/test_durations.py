import pytest

from inference_rollouts.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("1.5h", 5400),
        (0, 0),
        (7.5, 7.5),
        (" 2d ", 172800),
    ],
)
def test_reads_durations_as_people_write_them(text: float | str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", -1, "5x", True, None, float("inf"), float("nan"), [5]]
)
def test_refuses_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 61, 3600, 5400, 86399, 90061])
def test_what_it_writes_it_reads_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
