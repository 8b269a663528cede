"""The newest version that may be rolled out, and why newer ones may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inference_rollouts.core.versions.choice import Rules, choose, choose_named
from inference_rollouts.core.versions.memory import LONGEST, Allowed, Became, Memory
from inference_rollouts.core.versions.version import Version
from tests.support.versions import fate, memory, version

NOW, DAY = 1_000_000.0, 86400.0
NEWEST = [version("v3.0.0", NOW - 100), version("v2.0.0", NOW - 3 * DAY), version("v1.0.0", NOW - 9 * DAY)]
ALLOWED = Allowed(by="kim", because="the node was broken", at=NOW)


def test_the_newest_is_taken() -> None:
    choice = choose(NEWEST, Rules(), NOW)
    assert choice.version == NEWEST[0]
    assert choice.sentence == ""


def test_it_is_told_when_the_last_one_that_was_passed_over_was_rolled_back() -> None:
    known = memory(fate("v3.0.0", at=5.0), fate("v2.0.0", at=9.0))
    assert choose(NEWEST, Rules(memory=known), NOW).rolled_back == 9.0
    assert choose(NEWEST, Rules(), NOW).rolled_back == 0.0


def test_nothing_is_found_where_there_is_nothing() -> None:
    choice = choose([], Rules(), NOW)
    assert choice.version is None
    assert choice.sentence == "There is nothing new that may be rolled out"


@pytest.mark.parametrize(
    ("rules", "taken", "why"),
    [
        (Rules(min_age=DAY), "v2.0.0", "v3.0.0@sha256:"),
        (
            Rules(memory=memory(fate("v3.0.0"))),
            "v2.0.0",
            "was rolled back by rollout_llm/r0: the canary is worse",
        ),
        (Rules(after="staging", promoted=frozenset({NEWEST[2].identity})), "v1.0.0", "plan staging"),
    ],
)
def test_what_may_not_be_is_passed_over_and_said(rules: Rules, taken: str, why: str) -> None:
    choice = choose(NEWEST, rules, NOW)
    assert choice.version
    assert choice.version.name == taken
    assert why in choice.sentence


def test_what_has_no_digest_or_no_known_age_is_not_eligible() -> None:
    assert "no digest" in choose([version("v1", pinned=False)], Rules(), NOW).sentence
    assert "nobody knows how old" in choose([version("v1")], Rules(min_age=1.0), NOW).sentence


def test_nothing_older_than_what_was_promoted_is_ever_taken() -> None:
    promoted = memory(fate("v2.0.0", Became.PROMOTED))
    assert choose(NEWEST[1:], Rules(memory=promoted), NOW).version is None
    assert choose(NEWEST[2:], Rules(memory=promoted), NOW).version is None, "also where it has gone since"
    assert choose(NEWEST, Rules(memory=promoted), NOW).version == NEWEST[0]


def test_a_source_is_read_no_further_than_it_must_be() -> None:
    def source() -> Iterator[Version]:
        yield NEWEST[0]
        raise AssertionError("asked for the next")

    assert choose(source(), Rules(), NOW).version == NEWEST[0]


def test_a_person_allows_a_version_again_with_a_reason() -> None:
    rolled_back = memory(fate("v3.0.0"), fate("v3.0.0", at=2.0))
    allowed = rolled_back.allow(NEWEST[0], ALLOWED)
    assert choose(NEWEST, Rules(memory=allowed), NOW).version == NEWEST[0]
    again = allowed.with_([fate("v3.0.0", at=3.0)])
    assert choose(NEWEST, Rules(memory=again), NOW).version == NEWEST[1], "one that fails again is out again"


def test_a_version_that_a_person_names_need_not_be_old_but_all_else() -> None:
    assert choose_named(NEWEST[0], Rules(min_age=DAY), NOW).version == NEWEST[0]
    assert choose_named(NEWEST[0], Rules(memory=memory(fate("v3.0.0"))), NOW).version is None


def test_what_a_run_has_chosen_is_not_held_against_it_when_it_is_cleared() -> None:
    rolled_back = Rules(memory=memory(fate("v3.0.0", run="rollout_llm/r1")), run="rollout_llm/r1")
    assert choose_named(NEWEST[0], rolled_back, NOW).version == NEWEST[0]


def test_the_same_digest_under_another_tag_is_the_same_version() -> None:
    renamed = NEWEST[0].model_copy(update={"name": "v3"})
    assert choose([renamed], Rules(memory=memory(fate("v3.0.0"))), NOW).version is None


def test_a_fate_is_remembered_once_and_in_order() -> None:
    told = memory(fate("b", at=2.0), fate("a", at=1.0))
    assert told.with_([fate("a", at=1.0)]) == told
    assert [each.version.name for each in told.fates] == ["a", "b"]


def test_what_still_refuses_is_forgotten_last() -> None:
    bad = fate("bad", at=0.0)
    many = [fate(f"v{n}", Became.PROMOTED, at=n + 1.0) for n in range(LONGEST + 5)]
    full = Memory().with_([bad, *many])
    assert len(full.fates) == LONGEST
    assert full.refused(version("bad"))
