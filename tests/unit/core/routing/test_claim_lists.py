"""What a claim says was found is a weighted list, or nothing of the claim is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimUnreadable
from inference_rollouts.core.routing import claim as claims
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Ending, read_ending
from inference_rollouts.core.routing.weights import MAX_WEIGHT
from tests.support.claims import attached, ending, own, shifted
from tests.support.json_patch import apply_patch
from tests.support.routes import ref, route

_NO_LISTS = [
    [{}],
    [{"name": 1}],
    [{"name": ""}],
    [{"name": []}],
    [{"modelRewrite": "llm-pool"}],
    [{"name": "another"}],
    [{"name": "llm-pool"}, {"weight": 1}],
    *([{"name": "llm-pool", "weight": each}] for each in (None, "5", -5, 1.5, True, MAX_WEIGHT + 1)),
]


@pytest.mark.parametrize("found", _NO_LISTS)
def test_what_was_found_is_a_weighted_list_with_stable_in_it_or_nothing_of_the_claim_is_believed(
    found: Any,
) -> None:
    live = attached(route([ref("llm-pool")]))
    claim = json.loads(live["metadata"]["annotations"][claims.CLAIM])
    claim["places"][0]["found"] = found
    live["metadata"]["annotations"][claims.CLAIM] = json.dumps(claim)
    with pytest.raises(ClaimUnreadable, match=r"unreadable \(places.0.found"):
        claims.read_claim(live)


def test_nothing_moves_from_a_pool_to_itself() -> None:
    live = attached(route([ref("llm-pool")]))
    notes = live["metadata"]["annotations"]
    notes[claims.CLAIM] = notes[claims.CLAIM].replace('"canary":"new"', '"canary":"llm-pool"')
    with pytest.raises(ClaimUnreadable, match="both llm-pool"):
        claims.read_claim(live)


def test_a_promotion_is_not_undone_by_lists_that_are_none() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 100)
    claim = own(live)
    left = apply_patch(live, patches.promote_patch(live, claim, ending(claim, Ending.PROMOTED)))
    assert read_ending(left)
    notes = left["metadata"]["annotations"]
    notes[claims.ENDING] = notes[claims.ENDING].replace('"name":"llm-pool"', '"name":"another"')
    assert read_ending(left) is None
