from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.core.serving.warm_up import Answer, Completion, Failure, is_steady, mistake

GOOD = Completion("llama", " Hello.", "stop", 3, 2, 0.2)


def answer(**changes: Any) -> Answer:
    return replace(GOOD, **changes)


def test_a_complete_answer_has_no_mistake() -> None:
    assert mistake(GOOD, "llama") is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Failure(500, ""), "answered 500 instead of 200"),
        (Failure(503, "queue full"), "answered 503 instead of 200 (queue full)"),
        (Failure(0, "the stream broke off: busy"), "gave no valid answer: the stream broke off: busy"),
        (answer(model="other"), "answered as model 'other' instead of 'llama'"),
        (answer(model=""), "answered as model '' instead of 'llama'"),
        (answer(text="  "), "answered with an empty text"),
        (answer(finish_reason="abort"), "finished with reason 'abort'"),
        (answer(finish_reason=""), "finished with reason ''"),
        (answer(completion_tokens=0), "answered without counting its tokens"),
    ],
)
def test_wrong_answers_are_named(bad: Answer, words: str) -> None:
    assert mistake(bad, "llama") == words


@pytest.mark.parametrize(
    ("status", "passing"), [(0, True), (429, True), (500, True), (503, True), (400, False), (404, False)]
)
def test_some_failures_may_pass(status: int, passing: bool) -> None:
    assert Failure(status, "").passing is passing


@pytest.mark.parametrize(
    ("ttfts", "steady"),
    [
        ([], False),
        ([0.2, 0.2], False),
        ([9, 3, 0.2, 0.21, 0.19], True),
        ([9, 3, 0.2, 0.2, 0.9], False),
        ([0.001, 0.04, 0.002], True),
    ],
)
def test_steady_means_the_last_answers_agree(ttfts: list[Any], steady: bool) -> None:
    assert is_steady(ttfts, 3, 2.0) is steady
