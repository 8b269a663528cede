from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from inference_rollouts.core.reporting.chart import MOST, Point, Points, chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*points: Any, title: str = "a -> b") -> Any:
    root = ElementTree.fromstring(chart(title, points, alarm_at=100.0))
    return root, [path.get("d") for path in root.iter(f"{SVG}path")]


def test_every_observation_is_drawn_in_four_lines() -> None:
    observations = [Point(float(t), 5, 1.0 + t, 0.3, 0.2) for t in range(4)]
    _, (weight, evidence, stable, canary) = drawn(*observations)
    assert weight.count("H") == evidence.count("L") == stable.count("L") == canary.count("L") == 3


def test_a_line_breaks_where_an_arm_has_no_requests() -> None:
    observations = [
        Point(0.0, 50, 1.0, 0.3, 0.2),
        Point(1.0, 100, 1.0, 0.3, None),
        Point(2.0, 100, 1.0, 0.3, 0.2),
    ]
    _, (_, _, stable, canary) = drawn(*observations)
    assert stable.count("M") == 2
    assert canary.count("M") == 1


def test_evidence_beyond_the_alarm_stays_in_its_panel() -> None:
    _, (_, evidence, *_) = drawn(Point(0.0, 5, 0.0, None, None), Point(1.0, 5, 1e12, None, None))
    low, high = (float(part.split()[1]) for part in evidence[1:].split("L"))
    assert high < low


def test_titles_are_escaped_and_nothing_to_draw_is_fine() -> None:
    root, paths = drawn(title="<a> & b")
    assert paths == []
    assert root.find(f"{SVG}text").text == "<a> & b"


def test_points_are_thinned_evenly_and_always_with_the_newest() -> None:
    points = Points()
    for t in range(10 * MOST):
        points.add(Point(float(t), 5, 1.0, None, None))
        if t in (0, 7, MOST, 9 * MOST):
            assert [point.time for point in points][-1] == t
    times = [point.time for point in points]
    assert MOST / 2 <= len(times) <= MOST + 1
    assert {later - earlier for earlier, later in pairwise(times[:-1])} == {16.0}


def test_few_points_are_all_kept() -> None:
    points = Points()
    for t in range(5):
        points.add(Point(float(t), 5, 1.0, None, None))
    assert [point.time for point in points] == [0, 1, 2, 3, 4]
