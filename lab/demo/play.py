"""Playing the story: start everything, run the rollouts one after the other, stop everything."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import aiohttp

from lab.airflow.client import TERMINAL
from lab.airflow.guardian import start_guardian
from lab.airflow.identity import grant
from lab.airflow.settings import connections
from lab.airflow.standalone import Airflow
from lab.controllers.node_templates import node_templates
from lab.demo.observe import Observer, Run
from lab.demo.screen import Screen
from lab.demo.snapshot import Snapshot, backends, describe
from lab.demo.story import Chapter, Ending, Story, disappointments
from lab.demo.view import block, clock, line
from lab.host.state import StateDirectory
from lab.kube.client import Kube
from lab.kube.objects import path_of
from lab.lifecycle.up import Startup, down
from lab.monitoring.binary import find_prometheus
from lab.scope import HOME

SNAPSHOT_SECONDS = 1.0
PLAIN_SECONDS = 3.0
LONGEST_ROLLOUT = 300.0


class Failed(Exception):
    """A rollout did not end as the story promises."""


Tell = Callable[[Screen, Startup, Airflow], Coroutine[Any, Any, str]]
"""Tells a story in a lab that is up; what was not as promised, empty if all was."""


async def play(
    screen: Screen,
    directory: StateDirectory,
    tell: Tell,
    rate: float,
    leave: bool,
    extra: Mapping[str, str] | None = None,
) -> None:
    """The whole story; ends by itself if `leave`, else when cancelled. Nothing is left running.

    `extra` are environment variables of Airflow.

    Raises Failed when a rollout ended otherwise than promised, and what the lab and Airflow raise.
    """
    if directory.path.exists() and down(directory):
        screen.say("stopped what an earlier demo had left running")
    prometheus, began = find_prometheus(), time.monotonic()

    def report(text: str) -> None:
        screen.say(f"  {clock(time.monotonic() - began)}  {text}")

    lab = Startup(directory, rate, prometheus, report)
    airflow = Airflow(
        directory.airflow_home,
        {**connections(directory.limited_kubeconfig, lab.record["prometheus"]["url"]), **(extra or {})},
        report,
    )
    try:
        screen.say(screen.style("bold", "Starting a local inference cluster and Airflow"))
        await _start(lab, airflow)
        await asyncio.to_thread(grant, directory.kubeconfig, directory.limited_kubeconfig)
        await asyncio.to_thread(start_guardian, directory, lab.record["prometheus"]["url"])
        failure = await _while_alive(lab, airflow, tell(screen, lab, airflow))
        if not leave:
            _invite(screen, lab, airflow)
            with suppress(asyncio.CancelledError):
                await _watch(lab, airflow)
        if failure:
            raise Failed(failure)
    finally:
        screen.say("stopping everything")
        airflow.stop()
        down(directory)


async def _start(lab: Startup, airflow: Airflow) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(lab.run())
            group.create_task(airflow.start())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def tell_rollouts(story: Story, screen: Screen, lab: Startup, airflow: Airflow) -> str:
    """All its rollouts; what was not as promised, empty if all was."""
    client = airflow.client()
    await asyncio.to_thread(client.wait_for_dag, story.dag_id)
    await asyncio.to_thread(client.set_paused, story.dag_id, False)
    screen.say(f"  Airflow  {airflow.url}   user admin   password {airflow.passwords['admin']}")
    record = lab.record
    async with (
        Kube.from_kubeconfig(record["kubeconfig"]) as kube,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        urls = (record["prometheus"]["url"], record["loadgen"]["url"])
        if story.machines:
            await kube.create(path_of("ConfigMap", HOME), node_templates(story.machines))
        observer = Observer(story.dag_id, story.source, client, kube, http, *urls)
        for number, chapter in enumerate(story.chapters, start=1):
            screen.say()
            screen.say(screen.style("bold", f"Rollout {number} of {len(story.chapters)}: {chapter.title}"))
            screen.say(f"  {chapter.stable} -> {chapter.canary}   {chapter.what}")
            ending = await _observed(screen, observer, chapter)
            _sum_up(screen, ending, chapter)
            if complaints := disappointments(chapter, ending):
                return "; ".join(complaints)
    return ""


async def _observed(screen: Screen, observer: Observer, chapter: Chapter) -> Ending:
    """Trigger the run and show it until it has ended."""
    before, clients = await observer.target(), await observer.clients()
    run_id = await asyncio.to_thread(observer.airflow.trigger, observer.dag_id, chapter.conf)
    run = Run(run_id, chapter.stable, chapter.canary, chapter.bake_seconds, time.time(), clients)
    state, teller = "queued", _Teller(screen, list(chapter.weights))
    while state not in TERMINAL:
        snapshot = await observer.snapshot(run)
        if snapshot.elapsed > LONGEST_ROLLOUT:
            raise Failed(f"the run is still {state} after {LONGEST_ROLLOUT:.0f} s")
        teller.show(snapshot)
        await asyncio.sleep(SNAPSHOT_SECONDS)
        state = (await asyncio.to_thread(observer.airflow.run, observer.dag_id, run_id))["state"]
    snapshot = await observer.snapshot(run)
    teller.show(snapshot)
    screen.keep()
    outcome, reason = await observer.outcome(run_id)
    return Ending(
        outcome=outcome,
        reason=reason,
        seconds=snapshot.elapsed,
        before=before,
        after=await observer.target(),
        clients=snapshot.clients,
    )


@dataclass
class _Teller:
    """Shows snapshots: on a terminal a block, else a line now and then and every new verdict."""

    screen: Screen
    weights: list[int]
    told: float = 0.0
    verdict: str = ""

    def show(self, snapshot: Snapshot) -> None:
        self.screen.paint(block(snapshot, self.weights, self.screen.style))
        if self.screen.live:
            return
        if snapshot.elapsed - self.told >= PLAIN_SECONDS:
            self.screen.say(line(snapshot))
            self.told = snapshot.elapsed
        if snapshot.verdict != self.verdict:
            self.screen.say(f"{clock(snapshot.elapsed)}  {snapshot.verdict}")
            self.verdict = snapshot.verdict


def _sum_up(screen: Screen, ending: Ending, chapter: Chapter) -> None:
    expected = ending.outcome == chapter.outcome
    clients, failures = ending.clients, ending.clients.failures
    failed = ", ".join(f"{n} {cause}" for cause, n in failures.items()) or "none"
    mark = screen.style("green", "✓") if expected else screen.style("red", "✗")
    unchanged = " (exactly as before)" if ending.after["spec"] == ending.before["spec"] else ""
    screen.say()
    screen.say(f"{mark} {screen.style('bold', ending.outcome)} after {ending.seconds:.0f} s: {ending.reason}")
    screen.say(f"  clients  {clients.ended:,} requests answered, failed: {failed}")
    screen.say(f"  before   {describe(backends(ending.before, chapter.stable))}")
    screen.say(f"  after    {describe(backends(ending.after, chapter.stable))}{unchanged}")


def _invite(screen: Screen, lab: Startup, airflow: Airflow) -> None:
    screen.say()
    screen.say(screen.style("bold", "It is all still running; Ctrl-C stops it:"))
    screen.say(f"  Airflow     {airflow.url}   user admin   password {airflow.passwords['admin']}")
    screen.say(f"  kubectl     export KUBECONFIG={lab.record['kubeconfig']}")
    screen.say(f"  Prometheus  {lab.record['prometheus']['url']}")


async def _watch(lab: Startup, airflow: Airflow) -> NoReturn:
    """Until cancelled; raises ProcessError when one of the processes ends."""
    while True:
        for process in (*lab.directory.processes(), *airflow.processes.values()):
            process.check_alive()
        await asyncio.sleep(1)


async def _while_alive(lab: Startup, airflow: Airflow, work: Coroutine[Any, Any, str]) -> str:
    """The result of `work`, given up as soon as one of the processes ends."""
    story, watch = asyncio.create_task(work), asyncio.create_task(_watch(lab, airflow))
    try:
        await asyncio.wait({story, watch}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            watch.result()
        return await story
    finally:
        story.cancel()
        watch.cancel()
        await asyncio.gather(story, watch, return_exceptions=True)
