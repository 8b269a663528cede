from __future__ import annotations

import pytest

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.judging.own_picker import unasked_picker
from inference_rollouts.core.judging.split import Requests

BOTH = load_metric_set("vllm", "endpoint_picker")
PICKED = "endpoint_picker_errors"


def seen(answered: int, picked: int | None) -> Requests:
    """A window of the canary; None: its picker exports nothing."""
    own = {} if picked is None else {PICKED: (picked, 900)}
    return Requests(0.0, 5.0, {"errors": (answered, 900), **own})


@pytest.mark.parametrize(
    ("picked", "asked"), [(100, True), (60, True), (5, False), (0, False), (None, False)]
)
def test_a_picker_that_sees_nearly_none_of_its_pool_s_requests_is_not_asked(
    picked: int | None, asked: bool
) -> None:
    sentence = unasked_picker(BOTH, [seen(100, picked)], 50)
    assert (sentence == "") is asked
    if not asked:
        assert sentence.startswith(f"The canary's own endpoint picker saw {picked or 0} of the 100 requests")


def test_few_requests_say_nothing_and_old_ones_no_more() -> None:
    assert unasked_picker(BOTH, [seen(49, 0)], 50) == ""
    assert unasked_picker(BOTH, [seen(500, 0), seen(60, 60)], 50) == ""
    assert unasked_picker(BOTH, [seen(500, 500), seen(60, 0)], 50) != ""


@pytest.mark.parametrize("sets", [["vllm"], ["vllm", "envoy"], ["endpoint_picker"]])
def test_where_pickers_and_servers_do_not_judge_together_nobody_knows(sets: list[str]) -> None:
    assert unasked_picker(load_metric_set(*sets), [seen(500, 0)], 50) == ""
