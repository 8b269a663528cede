"""Who asks the metrics store once waits until it can answer; a store that refuses has refused."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import PrometheusBusy, PrometheusUnavailable
from inference_rollouts.core.limits import BUSY_STORE
from inference_rollouts.rollout.busy_store import AskedAgain
from tests.support.asked_alike import AskedAlike


class Store(AskedAlike):
    """Answers with these, one after the other; then always with the last."""

    def __init__(self, *answers: Exception | list[dict[str, Any]]) -> None:
        self.answers = [*answers]
        self.passed = 0.0
        self.asked: list[float] = []

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        self.asked.append(self.passed)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.passed += seconds

    @property
    def again(self) -> AskedAgain:
        return AskedAgain(self, lambda: self.passed, self.sleep)


@pytest.mark.parametrize("several", [False, True])
def test_a_busy_store_is_asked_again_no_sooner_than_it_wants(several: bool) -> None:
    store = Store(PrometheusBusy("429", 7.0), PrometheusBusy("503"), [{"value": [0, 1]}])
    answer = store.again.query_range("up", [1.0])[0] if several else store.again.query("up", 1.0)
    assert answer == [{"value": [0, 1]}]
    assert len(store.asked) == 3
    assert store.asked[1] >= 7.0


def test_one_that_stays_busy_is_given_up() -> None:
    store = Store(PrometheusBusy("429", 15.0))
    with pytest.raises(PrometheusUnavailable, match="429"):
        store.again.query("up", 1.0)
    assert store.passed == BUSY_STORE


def test_one_that_refuses_is_not_asked_again() -> None:
    store = Store(PrometheusUnavailable("Prometheus answered 400"))
    with pytest.raises(PrometheusUnavailable):
        store.again.query("up", 1.0)
    assert store.asked == [0.0]
