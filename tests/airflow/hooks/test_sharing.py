"""Triggers of one process that watch by the same connections share clients, a view and threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger

from inference_rollouts.core.judging.judge import Carried
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.limits import OBSERVING_AT_ONCE
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.hooks import sharing as module
from inference_rollouts.hooks.sharing import AT_ONCE, BUSY, fitting, sharing
from inference_rollouts.rollout import checks, together
from inference_rollouts.triggers.idle import IdleTrigger
from inference_rollouts.triggers.judge import JudgeTrigger
from inference_rollouts.triggers.room import RoomTrigger
from inference_rollouts.triggers.watch import alarm
from tests.support.airflow import use
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.left_behind import LONGEST, Stage
from tests.support.plans import CANARY, STABLE, frozen_food_review, llm_plan
from tests.support.steps import Step


def test_clients_are_made_with_the_first_and_closed_with_the_last() -> None:
    asyncio.run(first_and_last())


async def first_and_last() -> None:
    first = frozen_food_review()
    other = frozen_food_review(namespace="elsewhere")
    async with sharing(first.plan) as shared:
        clients = shared.run_of(first).clients
        async with sharing(first.plan) as again, sharing(other.plan) as beside:
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
    async with sharing(first.plan) as here, sharing(other.plan) as there:
        assert here.observing is not there.observing
        assert here.asking is not there.asking
        assert here.waiting is not there.waiting
        assert here.spare is not there.spare


def test_who_observes_waits_for_none_who_look_at_what_they_wait_for() -> None:
    asyncio.run(looking_and_observing())


async def looking_and_observing() -> None:
    over = threading.Event()
    async with sharing(frozen_food_review().plan) as shared:
        looking = [asyncio.create_task(shared.look(over.wait)) for _ in range(2 * OBSERVING_AT_ONCE)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(shared.run(lambda: 1), 20) == 1
        finally:
            over.set()
        assert all(await asyncio.gather(*looking))


def test_who_comes_late_takes_of_what_all_here_can_spare() -> None:
    async def observers() -> None:
        frozen = frozen_food_review()
        context = frozen.plan.step_context(1, 0.0)
        async with sharing(frozen.plan) as shared:
            both = [shared.observer(frozen, context, Carried()) for _ in range(2)]
            assert {each._counting._spare for each in both} == {shared.spare}

    asyncio.run(observers())


@pytest.mark.parametrize(
    ("count", "seconds", "fit"),
    [(10, 0.0, AT_ONCE), (10, BUSY, 10), (10, 10 * BUSY, 1), (1, 5.0, 1), (4, BUSY, 4)],
)
def test_the_loop_is_busy_with_judging_for_moments_only(count: int, seconds: float, fit: int) -> None:
    assert fitting(count, seconds) == fit


async def judged_side_by_side(count: int, within: float, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were judged together, of so many at once that wait for one another for `within` seconds."""
    sizes: list[int] = []

    def judge_all(observations: Sequence[object]) -> list[object]:
        sizes.append(len(observations))
        return list(observations)

    monkeypatch.setattr(together, "judge_all", judge_all)
    monkeypatch.setattr(module, "JUDGED_WITHIN", within)
    monkeypatch.setattr(module, "fitting", lambda count, seconds: AT_ONCE)
    analysis = SimpleNamespace(interval=1e9)
    observer: Any = SimpleNamespace(
        catches_up=False, run=SimpleNamespace(plan=SimpleNamespace(analysis=analysis))
    )
    begun: Any = SimpleNamespace(alarmed=False)
    async with sharing(frozen_food_review().plan) as shared:
        observing = [shared._judged(observer, begun) for _ in range(count)]
        async with asyncio.timeout(60):
            seen: list[Any] = await asyncio.gather(*observing)
        assert seen == [(observer, begun)] * count
        assert shared.due is None
    return sizes


def test_so_many_are_judged_together_as_soon_as_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(judged_side_by_side(2 * AT_ONCE, 1e9, monkeypatch)) == [AT_ONCE, AT_ONCE]


def test_fewer_are_judged_when_they_have_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(judged_side_by_side(AT_ONCE + 3, 0.01, monkeypatch)) == [AT_ONCE, 3]


async def nothing(*_: object) -> None:
    """Is told."""


@pytest.mark.parametrize("watched", [False, True])
def test_an_alarm_waits_for_none_of_the_threads_that_all_of_a_process_share(
    watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be held by who tries for minutes to go back on another cluster."""
    step = Step(time.time() - 1, analysis={"margin": None, "interval": "250ms"})
    before = Judgement.from_json(step.judged()["judgement"]).to_json()
    step.cluster.scale(CANARY, 0)
    use(step.run.clients, monkeypatch)
    frozen, over = step.run.frozen.to_json(), threading.Event()

    async def event() -> Any:
        asyncio.get_running_loop().set_default_executor(threads := ThreadPoolExecutor(1))
        threads.submit(over.wait)
        judge = JudgeTrigger(frozen=frozen, step=1, since=step.since)
        awaited = alarm(frozen, before, "waiting", nothing) if watched else anext(aiter(judge.run()))
        try:
            return await asyncio.wait_for(awaited, 20)
        finally:
            over.set()

    assert asyncio.run(event()).payload["judgement"]["verdict"] == "rollback"
    assert step.cluster.weights() == {STABLE: 1, CANARY: 0}


@pytest.mark.parametrize("opens", [0.0, 3600.0])
def test_waiting_for_room_takes_none_of_the_threads_that_all_of_a_process_share(
    opens: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what watches for it ends with it."""
    step, closed, over = Step(), list[bool](), threading.Event()
    view: Any = SimpleNamespace(close=lambda: closed.append(True))
    use(replace(step.run.clients, view=view), monkeypatch)
    frozen, deadline = step.run.frozen.to_json(), time.time() + 600
    phase = Phase.FAILED if opens else Phase.READY  # what is aborted waits for no window
    monkeypatch.setitem(checks.CHECKS, "free", lambda *_: Readiness(phase, "it is"))
    monkeypatch.setitem(checks.CHECKS, "capacity", lambda *_: Readiness(Phase.READY, "there is room"))
    trigger = RoomTrigger(
        judgement=None, opens=opens and deadline, frozen=frozen, check="capacity:2", deadline=deadline, poll=0
    )
    assert asyncio.run(while_others_hold_all(trigger, over)).payload["phase"] == phase.value
    assert closed == [True]
    assert not module._all


def test_waiting_until_a_pool_is_idle_takes_none_of_them_either(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, over = Stage(), threading.Event()
    use(stage.clients, monkeypatch)
    retirement = stage.found(llm_plan(retention={"keep": 0, "longest_stream": LONGEST})).to_json()
    trigger = IdleTrigger(retirement=retirement, deadline=0.0)
    assert "still in use" in asyncio.run(while_others_hold_all(trigger, over)).payload["error"]
    assert not module._all


async def while_others_hold_all(trigger: BaseTrigger, over: threading.Event) -> Any:
    """The event of a trigger where the threads of the process are taken until it is there."""
    asyncio.get_running_loop().set_default_executor(threads := ThreadPoolExecutor(1))
    threads.submit(over.wait)
    try:
        return await asyncio.wait_for(anext(aiter(trigger.run())), 20)
    finally:
        over.set()


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
