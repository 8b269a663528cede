"""The metric set for vLLM on counters that a real vLLM 0.32 has shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import last_window
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import SERIES, STARTED
from inference_rollouts.core.judging.promql import split_selector
from inference_rollouts.core.judging.queries import series
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.window_counts import ArmCounts
from tests.support.judging import CANARY, STABLE

VLLM = load_metric_set("vllm")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|=)\s*"([^"]*)"')
ANSWERS = ('handler="/v1/completions"', 'handler="/v1/chat/completions"')
# Of a server that was asked for completions (one with `n: 2`), and that five clients left in mid-answer.
LEFT = {
    'http_requests_total{handler="/v1/models",method="GET",status="2xx"}': 10,
    'http_requests_total{handler="/v1/completions",method="POST",status="2xx"}': 722,
    'http_requests_total{handler="/v1/completions",method="POST",status="4xx"}': 21,
    'http_requests_total{handler="/v1/chat/completions",method="POST",status="2xx"}': 7,
    'http_requests_total{handler="/v1/chat/completions",method="POST",status="4xx"}': 4,
    'http_requests_total{handler="/tokenize",method="POST",status="2xx"}': 2,
    'http_requests_total{handler="/v1/unload_lora_adapter",method="POST",status="4xx"}': 5,
    'vllm:request_success_total{finished_reason="stop"}': 1,
    'vllm:request_success_total{finished_reason="length"}': 724,
    'vllm:request_success_total{finished_reason="abort"}': 0,
    'vllm:admission_rejections_total{reason="max_num_queued_reqs"}': 0,
}
# Of one whose queue was full: of 26 refused requests 12 got 503, the others 200 and an error in the stream.
FULL = {
    'http_requests_total{handler="/v1/completions",method="POST",status="5xx"}': 12,
    'http_requests_total{handler="/v1/completions",method="POST",status="2xx"}': 38,
    'vllm:request_success_total{finished_reason="length"}': 24,
    'vllm:admission_rejections_total{reason="max_num_queued_reqs"}': 26,
}


def answered(arm: Arm, shown: Mapping[str, float], started: float) -> Iterable[Sample]:
    """What Prometheus answers to the set's rates of a server that shows this."""
    labels = {arm.label: arm.value, "pod": f"{arm.value}-1"}
    yield {**labels, SERIES: STARTED}, started
    rates = (metric for metric in VLLM.metrics if metric.kind == "rate")
    for tag, selector in (each for metric in rates for each in series(metric)):
        for text, value in shown.items():
            if (own := selected(selector, text)) is not None:
                yield {**labels, **own, SERIES: tag}, value


def selected(selector: str, shown: str) -> dict[str, str] | None:
    """The labels of a series that a selector picks."""
    (name, matchers), (shown_name, labels) = split_selector(selector), split_selector(shown)
    own = {label: value for label, _, value in MATCHER.findall(labels)}
    picked = all(
        bool(re.fullmatch(pattern, own.get(label, ""))) == (operator != "!~")
        for label, operator, pattern in MATCHER.findall(matchers)
    )
    return own if name == shown_name and picked else None


def counted(shown: Mapping[str, float], metric: str) -> ArmCounts:
    """What a canary counted that began in the window; stable did nothing."""
    quiet = {text: 0.0 for text in shown}

    def snapshot(time: float, *servers: tuple[Arm, Mapping[str, Any]]) -> Snapshot:
        samples = [
            each for arm, values in servers for each in answered(arm, values, 150 if arm is CANARY else 0)
        ]
        return Snapshot(time, {"counts": samples})

    before = [snapshot(time, (STABLE, quiet)) for time in (100.0, 110.0)]
    window = last_window(VLLM, CANARY, STABLE, [*before, snapshot(160.0, (STABLE, quiet), (CANARY, shown))])
    assert window
    return window.counts[metric].canary


@pytest.mark.parametrize(
    ("metric", "n", "bad"),
    [
        ("errors", 754, 0),  # polls of the models, and unloading, are nobody's requests
        ("refused", 754, 25),
        ("unfinished", 729, 4),  # five, less the second answer to one request
        ("queue_full", 754, 0),
    ],
)
def test_clients_that_left_did_not_get_their_answer(metric: str, n: int, bad: int) -> None:
    assert counted(LEFT, metric) == ArmCounts(n=n, bad=(bad,), pods=1)


@pytest.mark.parametrize(
    ("metric", "n", "bad"), [("errors", 50, 12), ("unfinished", 38, 14), ("queue_full", 50, 26)]
)
def test_errors_after_the_headers_are_no_good_answers(metric: str, n: int, bad: int) -> None:
    assert counted(FULL, metric) == ArmCounts(n=n, bad=(bad,), pods=1)
