from typing import Any

import pytest

from inference_rollouts.core.serving.warm_up import Answer, is_steady, mistake

GOOD = {
    "model": "llama",
    "choices": [{"text": " Hello.", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def answer(**changes: Any) -> Answer:
    return Answer(200, {**GOOD, **changes}, 0.2)


def test_a_complete_answer_has_no_mistake() -> None:
    assert mistake(answer(), "llama") is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Answer(500, None, 0.1), "answered 500"),
        (Answer(0, None, 0.1), "answered 0"),
        (Answer(200, None, 0.1), "without choices"),
        (answer(choices=[]), "without choices"),
        (answer(choices="x"), "without choices"),
        (answer(choices=[None]), "empty text"),
        (answer(model="other"), "'other' instead of 'llama'"),
        (answer(choices=[{"text": "  ", "finish_reason": "stop"}]), "empty text"),
        (answer(choices=[{"text": "hi", "finish_reason": "abort"}]), "'abort'"),
        (answer(usage=None), "counting its tokens"),
    ],
)
def test_wrong_answers_are_named(bad: Answer, words: str) -> None:
    assert words in (mistake(bad, "llama") or "")


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
