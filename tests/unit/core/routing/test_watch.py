"""Leases: what they say, and what a guardian has to do by them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.limits import LEASE_SECONDS, RETURN_PATIENCE
from inference_rollouts.core.routing.claim import Claim, Guard, Phase
from inference_rollouts.core.routing.duty import Duty, duty, is_patient, why_ended
from inference_rollouts.core.routing.watch import (
    LONGEST_REASON,
    PROGRESS,
    STATUS,
    VERDICT_LABEL,
    Progress,
    Watch,
    lease_name,
    renewed_lease,
    watch_of,
    watched_by,
)
from inference_rollouts.core.routing.weights import Target
from tests.support.claims import claim_on
from tests.support.routes import ref, route

NOW = 1_000_000.0
ROUTE = route([ref("llm-pool")]) | {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}


def claim(**changes: Any) -> Claim:
    return claim_on(ROUTE).with_(next_move_by=NOW, abandon_after=300.0, **changes)


def watch(holder: str = "triggerer", ago: float = 0.0) -> Watch:
    lease = renewed_lease(ROUTE, claim(), holder, None, NOW - ago)
    made = watch_of({**lease, "metadata": {**lease["metadata"], "resourceVersion": "1"}})
    assert made
    return made


class TestLease:
    @pytest.mark.parametrize("name", ["a" * 253, "a." * 126 + "a", "a" * 224 + "." + "a" * 28])
    def test_it_has_a_name_however_long_that_of_its_object_is(self, name: str) -> None:
        made = lease_name(Target("v1", "HTTPRoute", name))
        assert len(made) <= 253
        assert all(part and part[0] != "-" and part[-1] != "-" for part in made.split("."))
        assert made != lease_name(Target("v1", "HTTPRoute", f"{name[:-1]}b"))

    def test_it_is_read_as_it_was_written(self) -> None:
        seen = watch(ago=3.0)
        assert (seen.holder, seen.token, seen.renewed) == ("triggerer", "5f3a", NOW - 3)
        assert seen.is_fresh(NOW)
        assert not seen.is_fresh(NOW - 3 + LEASE_SECONDS)

    def test_it_lasts_until_after_the_next_observation(self) -> None:
        guard = Guard(stable_pool="a", canary_pool="b", interval=60.0)
        seen = watch_of(renewed_lease(ROUTE, claim(guard=guard), "triggerer", None, NOW))
        assert seen
        assert seen.until == NOW + 60 + LEASE_SECONDS

    def test_who_goes_on_watching_has_watched_since_then(self) -> None:
        first = watch(ago=60.0)
        again = watch_of(renewed_lease(ROUTE, claim(), "triggerer", first, NOW))
        other = watch_of(renewed_lease(ROUTE, claim(), "guardian", first, NOW))
        assert again
        assert other
        assert (again.acquired, again.renewed) == (NOW - 60, NOW)
        assert other.acquired == NOW

    def test_it_remembers_how_far_the_judge_is_in_bounds_and_by_a_legal_label(self) -> None:
        progress = Progress(
            step=1, verdict="no data", reason="é" * LONGEST_REASON, evidence=1.0, alarm_at=100.0, baked=1.0,
            bake=3.0, following=None,
        )  # fmt: skip
        lease = renewed_lease(ROUTE, claim(), "triggerer", None, NOW, progress, "20 %")
        assert lease["metadata"]["labels"][VERDICT_LABEL] == "no-data"
        assert lease["metadata"]["annotations"][STATUS] == "20 %"
        assert len(str(lease).encode()) < 4096
        seen = watch_of(lease)
        assert seen
        assert seen.progress == progress

    @pytest.mark.parametrize("text", ["{", "[]", '{"step": 1}'])
    def test_progress_that_nobody_understands_is_none(self, text: str) -> None:
        lease = renewed_lease(ROUTE, claim(), "triggerer", None, NOW)
        lease["metadata"]["annotations"][PROGRESS] = text
        seen = watch_of(lease)
        assert seen
        assert seen.progress is None

    @pytest.mark.parametrize("lease", [None, {}, {"spec": None}, {"spec": {"renewTime": "yesterday"}}])
    def test_what_says_nothing_is_no_watch(self, lease: Any) -> None:
        assert watch_of(lease) is None

    def test_words(self) -> None:
        assert watched_by(None, NOW) == "nobody"
        assert watched_by(watch(), NOW) == "triggerer since 13:46:40Z"
        assert watched_by(watch(ago=50), NOW) == "nobody, since triggerer was last seen 50 s ago"

    @given(st.text("abc-.", min_size=1, max_size=253), st.text("abc-.", min_size=1, max_size=253))
    def test_names_are_short_enough_and_tell_objects_apart(self, one: str, other: str) -> None:
        names = {lease_name(Target("v1", "HTTPRoute", name)) for name in (one, other)}
        assert all(len(name) <= 253 for name in names)
        assert len(names) == len({one, other})


class TestDuty:
    @pytest.mark.parametrize(
        ("changes", "seen", "later", "what"),
        [
            ({}, watch(), 0.0, Duty.NONE),
            ({}, watch(ago=LEASE_SECONDS), 0.0, Duty.WATCH),
            ({}, watch("me"), 0.0, Duty.WATCH),
            ({}, None, 0.0, Duty.WATCH),
            ({}, watch("me"), 300.0, Duty.WATCH),
            ({}, watch("me"), 300.5, Duty.END),
            ({}, watch(ago=-300.0), 300.5, Duty.END),
            ({"next_move_by": None}, watch("me"), 1e9, Duty.WATCH),
            ({"phase": Phase.PAUSED}, watch(), 0.0, Duty.NONE),
            ({"phase": Phase.RETURNING}, watch(), 0.0, Duty.NONE),
            ({"phase": Phase.RETURNING}, watch(ago=-1000.0), 1000.0, Duty.NONE),
            ({}, watch(ago=-3600.0), 0.0, Duty.WATCH),
            ({"phase": Phase.RETURNING}, watch("me"), 0.0, Duty.END),
            ({"committed": True}, watch(ago=LEASE_SECONDS), 0.0, Duty.END),
        ],
    )
    def test_it_is_to_watch_what_nobody_watches_and_to_end_what_nobody_drives(
        self, changes: dict[str, Any], seen: Watch | None, later: float, what: Duty
    ) -> None:
        assert duty([claim().with_(**changes)], [seen], "me", NOW + later) is what

    def test_of_several_objects_the_last_move_counts(self) -> None:
        both = [claim(), claim().with_(next_move_by=NOW + 100)]
        assert duty(both, [watch("me")] * 2, "me", NOW + 350) is Duty.WATCH
        assert duty(both, [watch("me")] * 2, "me", NOW + 401) is Duty.END

    def test_it_says_why(self) -> None:
        assert why_ended([claim()], NOW + 330) == (
            "nobody drove it any more: its next move was due 5m30s ago"
        )
        assert "after an alarm" in why_ended([claim(alarm=True)], NOW)
        assert "nobody else finished it" in why_ended([claim(committed=True)], NOW)

    def test_patience_begins_with_the_way_back(self) -> None:
        assert is_patient([claim()], NOW + 1e6)
        back = claim(phase=Phase.RETURNING)
        assert is_patient([back], NOW + RETURN_PATIENCE - 1)
        assert not is_patient([back], NOW + RETURN_PATIENCE)
