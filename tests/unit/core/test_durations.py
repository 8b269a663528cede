import pytest

from inference_rollouts.core.durations import format_duration, parse_duration, roughly, spoken


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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (40, "40 s"),
        (90, "1 min 30 s"),
        (300, "5 min"),
        (5400, "1 h 30 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "10 s"), (33, "40 s"), (60, "1 min"), (61, "2 min"), (240, "4 min")]
)
def test_a_wait_is_told_roughly(seconds: float, words: str) -> None:
    assert roughly(seconds) == words
