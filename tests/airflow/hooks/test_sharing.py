"""Triggers of one process that watch by the same connections share clients, a view and threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference_rollouts.hooks import sharing as module
from inference_rollouts.hooks.sharing import AT_ONCE, BUSY, fitting, sharing
from inference_rollouts.triggers.judge import JudgeTrigger
from tests.support.airflow import use
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.plans import frozen_food_review
from tests.support.steps import Step


def test_clients_are_made_with_the_first_and_closed_with_the_last() -> None:
    asyncio.run(first_and_last())


async def first_and_last() -> None:
    first = frozen_food_review()
    other = frozen_food_review(namespace="elsewhere")
    async with sharing(first) as shared:
        clients = shared.run_of(first).clients
        async with sharing(first) as again, sharing(other) as beside:
            assert again is shared is beside
            assert again.run_of(first).clients is clients
            elsewhere = beside.run_of(other).clients
            assert elsewhere is not clients
            assert elsewhere.view
        assert list(shared.clients) == ["default"]
        assert isinstance(shared.observing, ThreadPoolExecutor)
        assert shared.observing.submit(lambda: 1).result() == 1
    assert not module._all
    with pytest.raises(RuntimeError):
        shared.observing.submit(lambda: 1)


def test_other_connections_share_nothing() -> None:
    """What is slow there delays nobody here."""
    asyncio.run(others())


async def others() -> None:
    first = frozen_food_review()
    other = frozen_food_review(connections={"kubernetes": "other", "prometheus": "prometheus_default"})
    async with sharing(first) as here, sharing(other) as there:
        assert here.observing is not there.observing
        assert here.asking is not there.asking


@pytest.mark.parametrize(
    ("count", "seconds", "fit"),
    [(10, 0.0, AT_ONCE), (10, BUSY, 10), (10, 10 * BUSY, 1), (1, 5.0, 1), (4, BUSY, 4)],
)
def test_the_loop_is_busy_with_judging_for_moments_only(count: int, seconds: float, fit: int) -> None:
    assert fitting(count, seconds) == fit


def test_judges_side_by_side_end_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two on the same connections one ends at once, by an error; the other goes on with what is shared."""
    step = Step(analysis={"margin": None, "interval": "250ms"})
    use(step.run.clients, monkeypatch)
    frozen = step.run.frozen
    lost = preflight(FakeCluster())

    async def both() -> list[dict[str, object]]:
        triggers = [JudgeTrigger(frozen=each.to_json(), step=1, since=step.since) for each in (lost, frozen)]

        async def first_event(trigger: JudgeTrigger) -> dict[str, object]:
            payload: dict[str, object] = (await anext(aiter(trigger.run()))).payload
            return payload

        return await asyncio.gather(*map(first_event, triggers))

    claimed_by_others, judged = asyncio.run(asyncio.wait_for(both(), 60))
    assert "not by this run" in str(claimed_by_others["error"])
    assert "judgement" in judged
    assert not module._all
