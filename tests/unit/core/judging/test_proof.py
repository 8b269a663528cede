"""Of each pod it is proven that the judge counts what it answers, or said why it would not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.metrics import STARTED
from inference_rollouts.core.judging.proof import ENOUGH, Answered, CountedPods, ScrapedPods, labels_query
from tests.support.judging import CANARY, STABLE, rate_samples, sample, small_set, snapshot

SET = small_set()
BOUNDS = ("0.5", "1.0", "+Inf")
LATE = 2.0
NO_LABELS: dict[str, dict[str, str]] = {}


def latencies(pod: str, n: int, arm: Arm = CANARY) -> list[tuple[dict[str, str], float]]:
    return [sample(arm, pod, "ttft/le/0", n, le) for le in BOUNDS]


class Pods:
    """Pods a, b... of a canary at one moment after the other; a store that shows what they have answered."""

    def __init__(self, *names: str) -> None:
        self.proof = CountedPods(SET, CANARY, STABLE, names, LATE)
        self.answers = dict.fromkeys(names, 0)
        self.now = 1000.0

    def ask(self, pod: str, times: int = 1, shown: bool = True) -> None:
        """A request takes a tenth of a second; not `shown` are those that the store never counts."""
        for _ in range(times):
            self.proof.answered(pod, Answered(self.now, self.now + 0.1))
            self.now += 0.1
            self.answers[pod] += shown

    def look(self, *without: str, but: tuple[str, ...] = ()) -> CountedPods:
        """The store is asked a second later; it shows nothing of some pods, and some metrics of none."""
        self.now += 1.0
        seen: list[tuple[dict[str, str], float]] = []
        for pod, n in self.answers.items():
            if pod in without:
                continue
            seen.append(sample(CANARY, pod, STARTED, 100.0))
            # Before its first request a real server has no series of requests, but all histograms.
            seen += rate_samples(CANARY, pod, n, 0) if n and "errors" not in but else []
            seen += latencies(pod, n) if "ttft" not in but else []
        self.proof.observe(snapshot(self.now - 0.5, *seen, *rate_samples(STABLE, "s", 5000, 9)), self.now)
        return self.proof

    def doubts(self) -> str:
        return "; ".join(self.proof.doubts(NO_LABELS))


def test_requests_that_began_after_a_pod_was_seen_must_show() -> None:
    pods = Pods("a", "b")
    for _ in range(3):
        pods.look()
    for pod in "ab":
        pods.ask(pod, 4)
    assert pods.proof.unproven == ["a", "b"]
    assert pods.look().unproven == []
    assert pods.doubts() == ""


def test_what_counters_showed_when_a_pod_was_first_seen_is_no_proof() -> None:
    """All requests of the warm-up came before the first scrape: the pod is asked again."""
    pods = Pods("a")
    pods.ask("a", 5)
    assert pods.look().unasked == [], "nobody knows yet what is counted from"
    assert pods.look().unasked == ["a"]
    assert pods.look().unproven == ["a"]
    pods.ask("a", ENOUGH)
    assert pods.proof.unasked == []
    assert pods.look().unproven == []


def test_a_series_that_came_with_the_first_request_is_counted_once_the_pod_was_seen_twice() -> None:
    pods = Pods("a")
    pods.look()
    pods.ask("a", 1)
    assert pods.look().unproven == ["a"], "it may have been there before, and missing in one answer"
    pods.ask("a", 2)
    pods.look()
    assert pods.proof.unasked == ["a"]
    pods.ask("a", 1)
    assert pods.look().unproven == []


@pytest.mark.parametrize("asked", range(ENOUGH))
def test_a_few_requests_could_be_anybodys(asked: int) -> None:
    pods = Pods("a")
    for _ in range(3):
        pods.look()
    pods.ask("a", asked)
    assert pods.look().unproven == ["a"]


def test_requests_that_ended_lately_need_not_show_yet_and_all_others_must() -> None:
    pods = Pods("a")
    for _ in range(3):
        pods.look()
    pods.ask("a", ENOUGH)
    pods.ask("a", 4, shown=False)
    assert pods.look().unproven == [], "the last ones were not scraped yet"
    lost = Pods("a")
    for _ in range(3):
        lost.look()
    lost.ask("a", 4, shown=False)
    lost.now += LATE
    lost.ask("a", ENOUGH)
    assert lost.look().unproven == ["a"]
    assert lost.doubts() == "pod a: errors counts 3 of 7 requests"


def test_a_pod_that_is_missing_from_an_answer_is_counted_over_the_gap() -> None:
    pods = Pods("a")
    for _ in range(3):
        pods.look()
    pods.ask("a", ENOUGH)
    assert pods.look("a").unproven == ["a"]
    assert pods.look().unproven == []


def test_a_counter_that_falls_proves_nothing_and_is_told() -> None:
    """Two processes answer by turns at one port."""
    pods = Pods("a")
    for _ in range(2):
        pods.look()
    pods.ask("a", 10)
    pods.look()
    pods.answers["a"] = 2
    pods.look()
    assert pods.proof.unproven == []  # proven before: it was counted
    other = Pods("b")
    other.answers["b"] = 10
    for n in (3, 10, 3, 10, 3):
        other.answers["b"] = n
        other.look()
        other.proof.answered("b", Answered(other.now, other.now))
    assert other.proof.unproven == ["b"]
    assert other.doubts() == "pod b: errors: counters of b fell without a restart"


@pytest.mark.parametrize(
    ("but", "words"),
    [
        (("errors",), 'pod a: errors: new exports no requests_total{handler="/v1"}'),
        (("ttft",), "pod a: ttft: new exports no ttft_seconds"),
    ],
)
def test_what_a_canary_does_not_export_is_named(but: tuple[str, ...], words: str) -> None:
    pods = Pods("a")
    for _ in range(3):
        pods.look(but=but)
    pods.ask("a", ENOUGH)
    assert pods.look(but=but).unproven == ["a"]
    assert pods.doubts() == words


def test_what_may_be_missing_is_not_missed() -> None:
    pods = Pods("a")
    latency = SET["ttft"].model_copy(update={"optional": True})
    optional = SET.model_copy(update={"metrics": (SET["errors"], latency)})
    pods.proof = CountedPods(optional, CANARY, STABLE, ["a"], LATE)
    for _ in range(3):
        pods.look(but=("ttft",))
    pods.ask("a", ENOUGH)
    assert pods.look(but=("ttft",)).unproven == []


def test_pods_that_are_not_seen_are_named_once_for_each_reason() -> None:
    pods = Pods(*"abcdefgh")
    for pod in "abcdefgh":
        pods.ask(pod, 5)
    pods.look(*"abcdefg")
    pods.look(*"abcdefg")
    labels = {"a": {"pod": "a", "inference_pool": "old", "namespace": "default"}, "b": {"pod": "b"}}
    assert list(pods.proof.doubts(labels)) == [
        "pod a: scraped without inference_pool=new",
        "pod b: scraped without inference_pool=new, namespace=default",
        "pods c, d, e, f, g: no series with inference_pool=new, namespace=default and their names as pod",
        "pod h: errors counts 0 of 0 requests",
    ]
    many = Pods(*(f"p{number}" for number in range(100)))
    assert many.doubts().startswith("pods p0, p1, p2, p3, p4 and 95 more: no series with")


def test_who_sees_no_direct_requests_need_only_be_scraped() -> None:
    """The endpoint picker of the new pool: it has had nothing to count."""
    proof = ScrapedPods(SET, CANARY, ["epp-0", "epp-1"])
    proof.observe(
        snapshot(1.0, sample(CANARY, "epp-0", STARTED, 1.0), *rate_samples(STABLE, "epp-1", 1)), 1.0
    )
    assert (proof.unproven, proof.unasked) == (["epp-1"], ())
    [doubt] = proof.doubts({"epp-1": {"inference_pool": "old", "namespace": "default"}})
    assert doubt == "pod epp-1: scraped without inference_pool=new"
    proof.observe(snapshot(2.0, sample(CANARY, "epp-1", STARTED, 1.0)), 2.0)
    assert proof.unproven == []


def test_a_process_that_adapters_share_is_seen_whichever_of_them_it_has_counted() -> None:
    new, old = (
        Arm("target_model_name", name, "default", (("inference_pool", "llm"),), (("model_name", "food"),))
        for name in ("food-2", "food-1")
    )
    proof = ScrapedPods(SET, new, ["epp-0", "epp-1", "epp-2"])
    started: Any = {"pod": "epp-1", "series": STARTED}, 1.0
    proof.observe(snapshot(1.0, *rate_samples(old, "epp-0", 7), started), 1.0)
    assert proof.unproven == ["epp-2"]
    [doubt] = proof.doubts({})
    assert doubt == "pod epp-2: no series with inference_pool=llm, namespace=default and their names as pod"


def test_the_labels_of_pods_are_asked_for_by_their_names_alone() -> None:
    assert labels_query(SET, ["a.b", "c"]) == 'process_start_time_seconds{pod=~"a\\\\.b|c"}'
    assert labels_query(SET.model_copy(update={"started": None}), ["a"]) is None
    other = SET.model_copy(update={"started": 'up{job="vllm"}', "pod": "exported_pod"})
    assert labels_query(other, ["a"]) == 'up{job="vllm",exported_pod=~"a"}'


@given(st.lists(st.sampled_from(["look", "ask", "skip", "lose"]), max_size=40))
@example(["ask", "look", "ask", "ask", "ask", "look"])
def test_nothing_is_proven_that_was_not_counted(acts: list[str]) -> None:
    """Whatever is asked and seen in whatever order."""
    pods = Pods("a")
    shown = 0
    for act in acts:
        match act:
            case "look":
                pods.look()
            case "ask":
                pods.ask("a")
                shown += 1
            case "skip":
                pods.look("a")
            case "lose":
                pods.ask("a", shown=False)
    if not pods.proof.unproven:
        assert shown >= ENOUGH
        assert acts.count("look") >= 2, "one to count from, and one that shows it"
