import json
from typing import Any

import pytest
from pydantic import ValidationError

from inference_rollouts.core.serving.golden import Golden, findings
from inference_rollouts.core.serving.warm_up import Answer, Completion, Failure


def golden(**changes: Any) -> Golden:
    return Golden.model_validate({"prompt": "What is 2 + 2?"} | changes)


def answer(
    text: str = "4.", finish: str = "stop", prompt: int = 9, completion: int = 2, model: str = "llama"
) -> Completion:
    return Completion(model, text, finish, prompt, completion, 0.1)


def phrases(prompt: Golden, canary: Answer, stable: Completion | None = None) -> list[str]:
    return list(findings(prompt, canary, "llama", stable or answer()))


@pytest.mark.parametrize(
    ("changes", "canary", "wrong"),
    [
        ({}, answer(), None),
        ({}, answer(finish="length"), None),
        (
            {"finish_reasons": ["stop"]},
            answer(finish="length"),
            "finished with reason 'length' instead of stop",
        ),
        ({}, answer(finish="abort"), "'abort'"),
        ({}, answer(text=" "), "empty text"),
        ({}, answer(text="\ufffd\x00\ufffd \ufffd"), "unreadable text"),
        ({}, answer(text="Caf\ufffd", completion=1), "unreadable text"),
        ({}, answer(text="Here is the caf\ufffd"), None),
        ({}, answer(model="other"), "'other' instead of 'llama'"),
        ({}, Failure(400, "context too long"), "answered 400 instead of 200 (context too long)"),
        ({"format": "json"}, answer(text='{"a": 1}'), None),
        ({"format": "json"}, answer(text="four"), "answered 'four', which is not JSON"),
        ({"pattern": r"\b4\b"}, answer(), None),
        ({"pattern": r"\b4\b"}, answer(text="5."), "answered '5.', which does not match '\\\\b4\\\\b'"),
        ({}, answer(prompt=10), "counted 10 tokens in the prompt where stable counts 9"),
        ({}, answer(prompt=8), "tokenizer or the chat template"),
        ({"prompt_tokens_drift": 0.2}, answer(prompt=10), None),
        ({"prompt_tokens_drift": 0.2}, answer(prompt=11), "counted 11 tokens"),
        ({"length_drift": 2}, answer(completion=4), None),
        ({"length_drift": 2}, answer(completion=5), "answered with 5 tokens where stable answers with 2"),
        ({"length_drift": 1.5}, answer(completion=1), "answered with 1 tokens where stable answers with 2"),
    ],
)
def test_what_speaks_against_an_answer_is_one_phrase(
    changes: dict[str, Any], canary: Any, wrong: str | None
) -> None:
    complaints = phrases(golden(**changes), canary)
    if wrong is None:
        assert not complaints
    else:
        [phrase] = complaints
        assert wrong in phrase


def test_several_findings_are_all_told() -> None:
    complaints = phrases(golden(pattern="x", format="json", length_drift=1), answer(prompt=1, completion=1))
    assert len(complaints) == 4


def test_a_golden_prompt_is_named_by_its_last_words() -> None:
    assert str(golden()) == "golden prompt 'What is 2 + 2?'"
    chat = Golden.model_validate(
        {"messages": [{"role": "user", "content": "Tell me all\nabout " + "x" * 80}]}
    )
    assert str(chat) == f"golden prompt 'Tell me all about {'x' * 42}...'"
    assert chat.question == [{"role": "user", "content": "Tell me all\nabout " + "x" * 80}]
    json.dumps(chat.question)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"pattern": "(4"}, "not a regular expression"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "either `prompt` or `messages`"),
        ({"prompt": None}, "either `prompt` or `messages`"),
        ({"prompt": None, "messages": []}, "messages"),
        ({"finish_reasons": ["tired"]}, "finish_reasons"),
        ({"finish_reasons": []}, "finish_reasons"),
        ({"length_drift": 0.5}, "length_drift"),
        ({"prompt_tokens_drift": -1}, "prompt_tokens_drift"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_golden_prompts_are_refused_when_the_plan_is_read(changes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        golden(**changes)
