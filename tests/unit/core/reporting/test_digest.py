"""The morning report: a line a service, whatever became of it, and no markup of others in it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from inference_rollouts.core.reporting.digest import (
    COLUMNS,
    Cost,
    Digest,
    Ended,
    Service,
    cost_of,
    ended_of,
    following,
    markdown,
    page,
    waiting,
    worth_telling,
)
from inference_rollouts.core.run.frozen import Frozen
from tests.support.calendars import BERLIN, at
from tests.support.plans import food_review_plan, frozen_food_review, llm_plan
from tests.support.versions import version

NIGHT, MORNING = at("2026-11-25 22:00"), at("2026-11-26 07:00")
BAD = '<script>alert(1)</script> | [x](javascript:1) "q"'


def ended(outcome: str = "promoted", **changes: Any) -> Ended:
    values: dict[str, Any] = {
        "stable": "llm-pool",
        "canary": "llm-v2",
        "version": "v2@sha256:12345678",
        "began": NIGHT + 60,
        "ended": NIGHT + 60 + 5400,
        "outcome": outcome,
        "why": "the step is good",
    }
    return Ended(**values | changes)


def digest(*services: Service) -> Digest:
    return Digest(services, NIGHT, MORNING, BERLIN)


class Page(HTMLParser):
    """The tags of a page, and the text of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.cells and self.tags[-1] == "td":
            self.cells[-1] += data


def test_one_line_says_from_where_to_where_when_how_long_why_and_at_what_cost() -> None:
    cost = Cost(stable_hours=4.5, canary_hours=3.0, badly_served=7)
    report = digest(Service("llm", (ended(cost=cost),), next="starts tonight"))
    [line] = [line for line in markdown(report).splitlines() if line.startswith("| llm |")]
    assert line.count("|") == len(COLUMNS) + 1
    assert line.split(" | ")[1:] == [
        "llm-pool",
        "llm-v2 (v2@sha256:12345678)",
        "Wed 2026-11-25 22:01 Europe/Berlin (2026-11-25 21:01Z)",
        "1 h 30 min",
        "promoted: the step is good",
        "4.50 + 3.00 accelerator-hours, 7 requests badly served |",
    ]
    assert "1 promoted" in markdown(report).splitlines()[0]
    assert "- llm: starts tonight" in markdown(report)
    assert "4.50 + 3.00 accelerator-hours, 7 requests badly served" in Page(page(report)).cells


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (Service("a", doing="20 % (step 1 of 3) - waits"), "20 % (step 1 of 3) - waits"),
        (Service("a", waits="it comes after b, which ended rolled back"), "not started: it comes after b"),
        (Service("a"), "no rollout"),
    ],
)
def test_a_service_without_an_end_has_a_line_too(service: Service, says: str) -> None:
    assert any(line.startswith("| a |") and says in line for line in markdown(digest(service)).splitlines())
    assert any(says in cell for cell in Page(page(digest(service))).cells)


def test_nothing_that_others_wrote_is_markup() -> None:
    bad = ended(why=BAD, canary=BAD, version=BAD, stable=BAD)
    report = digest(Service(BAD, (bad,), doing=BAD, next=BAD), Service(BAD, waits=BAD))
    assert {tag for tag in Page(page(report)).tags if not tag.startswith("/")} <= {
        *("html", "head", "meta", "title", "body", "h1", "h2", "table", "tr", "th", "td", "ul", "li")
    }
    assert BAD in Page(page(report)).cells
    assert "<script>" not in markdown(report)
    assert all(
        line.replace("\\|", "").count("|") == len(COLUMNS) + 1
        for line in markdown(report).splitlines()
        if line.startswith("|")
    )


def test_what_waits_for_whom() -> None:
    nothing_new = ended("not started", nothing_new=True)
    night = {"a": [ended()], "b": [ended("rolled back")], "c": [nothing_new], "d": []}
    again = {"b": [ended("rolled back"), nothing_new]}
    assert waiting(["b"], again) == "it comes after b, which ended rolled back"
    assert waiting(["a", "c"], night) == ""
    assert waiting(["a", "b"], night) == "it comes after b, which ended rolled back"
    assert waiting(["d", "e"], night) == "it comes after d, which has not ended and e, which has not ended"


def test_runs_that_events_woke_in_vain_are_not_told_of() -> None:
    vain = [ended("not started", why=f"too early {n}") for n in range(3)]
    assert worth_telling([*vain, ended()]) == (ended(),)
    assert worth_telling(vain) == (vain[-1],)
    assert worth_telling([]) == ()


def test_what_the_next_night_brings() -> None:
    schedule = {"cron": "0 22 * * *", "timezone": BERLIN}
    assert following(llm_plan(schedule=schedule), at("2026-11-26 22:00"), "Thu to Fri") == (
        "starts Thu 2026-11-26 22:00 Europe/Berlin (2026-11-26 21:00Z), moves Thu to Fri"
    )
    assert following(llm_plan(after=["food-review"]), None, "") == "starts after food-review"
    assert following(llm_plan(), None, "") == "starts when somebody, or an event, starts it"


def test_what_a_rollout_costs_is_both_arms_while_it_ran_and_what_the_canary_failed() -> None:
    judged: list[dict[str, Any]] = [
        {"canary": {"requests": 200, "errors": 0.05}},
        {"canary": {"requests": 10, "errors": None}},
    ]
    assert cost_of(llm_plan(), 4, 1800.0, judged) == Cost(stable_hours=2.0, canary_hours=1.5, badly_served=10)
    assert cost_of(food_review_plan(), 4, 1800.0, judged).canary_hours is None


def test_the_end_of_a_run_is_read_back() -> None:
    frozen: Frozen = frozen_food_review()
    told = ended_of(frozen, "rolled back", "worse", [], 60.0)
    assert Ended.from_json(told.to_json()) == told
    assert told.version == ""
    assert version("v1").short.startswith("v1@sha256:")
