"""A night: three services get new versions, one each, and in the morning there is a report.

Time is made short, not made up: a night is minutes long, by windows that the plans have at real minutes of
the clock, and between two nights there is a minute of day. All else is as it is: Airflow, events, traffic.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab.airflow.client import TERMINAL, AirflowClient
from lab.airflow.standalone import Airflow
from lab.demo.observe import counted_pools
from lab.demo.play import Failed, play
from lab.demo.screen import Screen
from lab.demo.services import HEADER, MINUTE, SERVICES, Service, objects_of, plan_of
from lab.demo.snapshot import backends, describe
from lab.demo.view import clock
from lab.host.state import StateDirectory
from lab.kube.client import Kube
from lab.kube.objects import path_of
from lab.lifecycle.up import Startup

NIGHT = "night"
DIGEST = "rollout_digest"
RATE = 20.0  # requests a second of each service
APART = 6.0  # seconds between two announcements, as two cores do not start three rollouts at once
PREPARATION = 35.0  # seconds that canaries take to be ready, at least
LONGEST = 420.0
LOOK = 2.0


async def play_night(screen: Screen, directory: StateDirectory, leave: bool) -> None:
    """The whole night; ends by itself if `leave`, else when cancelled. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="night-") as include:
        plans = Path(include) / "rollouts"
        plans.mkdir()
        _write(plans, time.time())

        async def tell(screen: Screen, lab: Startup, airflow: Airflow) -> str:
            return await _Night(screen, lab, airflow.client(), plans).tell()

        await play(screen, directory, tell, RATE, leave, {"INFERENCE_ROLLOUTS_INCLUDE": include})


def _write(plans: Path, opens: float) -> None:
    """The plans, with windows of which the first ones open then. Each task reads them when it starts."""
    for service in SERVICES:
        path = plans / f"{service.name}.yaml"
        path.write_text(yaml.safe_dump(plan_of(service, opens), sort_keys=False))


class _Night:
    """The night as it goes; `opens` is when the first windows open (Unix seconds)."""

    def __init__(self, screen: Screen, lab: Startup, airflow: AirflowClient, plans: Path) -> None:
        self.screen, self.lab, self.airflow, self.plans = screen, lab, airflow, plans
        self.began = self.opens = time.time()
        self.stayed: set[str] = set()

    async def tell(self) -> str:
        """What was not as promised; empty if all was."""
        async with Kube.from_kubeconfig(self.lab.record["kubeconfig"]) as kube:
            await self._services(kube)
            self.opens = math.ceil((time.time() + PREPARATION) / MINUTE) * MINUTE
            _write(self.plans, self.opens)
            self._say("evening: each service gets a new version; an event says so, and wakes its rollout")
            for service in reversed(SERVICES):  # the one with the shortest window first
                await asyncio.to_thread(self.airflow.tell, service.asset, service.version)
                await asyncio.sleep(APART)
            await self._watch(kube, [service.name for service in SERVICES if len(service.nights) == 1])
            self._say("the next evening: the same versions are announced once more")
            for service in SERVICES:
                if len(service.nights) == 1:
                    await asyncio.to_thread(self.airflow.tell, service.asset, service.version)
            await self._watch(kube, [service.name for service in SERVICES], runs=2)
        report = await self._morning()
        self.screen.say()
        for line in report.splitlines():
            self.screen.say(line)
        return "; ".join(await self._complaints(report))

    async def _services(self, kube: Kube) -> None:
        """Two more services beside the one that the lab starts with, and their DAGs."""
        for service in SERVICES:
            for obj in objects_of(service) if not service.first else ():
                await kube.apply(obj, "lab")
            if not service.first:
                self.lab.add_clients(service.name, f"{HEADER}={service.name}", RATE)
        for service in SERVICES:
            await asyncio.to_thread(self.airflow.wait_for_dag, service.dag_id)
            if service.airflow_pool:
                await asyncio.to_thread(self.airflow.make_pool, service.airflow_pool, 1)
        await asyncio.to_thread(self.airflow.set_paused, DIGEST, False)
        while not (
            all([await _serves(kube, service.pool) for service in SERVICES])
            and {service.pool for service in SERVICES}
            <= await counted_pools(self.lab.record["prometheus"]["url"])
        ):
            self._require_time()
            await asyncio.sleep(LOOK / 4)

    async def _watch(self, kube: Kube, names: list[str], runs: int = 1) -> None:
        """Show who has which share until these services have had their runs."""
        told = ""
        waiting = [each for each in SERVICES if each.name in names]
        while waiting:
            self._require_time()
            shown = "   ".join([await self._line(kube, each) for each in SERVICES])
            if shown != told:
                self._say(shown)
                told = shown
            waiting = [each for each in waiting if not await self._is_over(each, runs)]
            await asyncio.sleep(LOOK)

    async def _is_over(self, service: Service, runs: int) -> bool:
        """Whether it has had its runs, and all of them have ended; who stays over has one for both nights."""
        wanted = 1 if len(service.nights) > 1 else runs
        had = await asyncio.to_thread(self.airflow.runs, service.dag_id)
        return len(had) >= wanted and all(run["state"] in TERMINAL for run in had)

    async def _line(self, kube: Kube, service: Service) -> str:
        route = await kube.get(path_of("HTTPRoute", "default", service.route))
        refs = backends(route, service.pool)
        if self._window(service) == "closed" and len([ref for ref in refs if ref.get("weight", 1)]) > 1:
            self.stayed.add(service.name)
        where = describe(refs)
        return f"{service.name} [{self._window(service)}]: {where}"

    def _window(self, service: Service) -> str:
        minutes = (time.time() - self.opens) / MINUTE
        return "open" if any(first <= minutes < last for first, last in service.nights) else "closed"

    async def _morning(self) -> str:
        self._say("morning: the report")
        run = await asyncio.to_thread(self.airflow.trigger, DIGEST, {"hours": 1})
        state = await asyncio.to_thread(self.airflow.wait, DIGEST, run, 90)
        if state != "success":
            raise Failed("the morning report failed")
        return str(await asyncio.to_thread(self.airflow.xcom, DIGEST, run, "report", "report"))

    async def _complaints(self, report: str) -> list[str]:
        """Whatever is not as the night promises, a sentence each."""
        complaints = []
        lines = {line.split(" | ")[0].strip("| "): line for line in report.splitlines() if " | " in line}
        for service in SERVICES:
            if f"| {service.outcome}: " not in lines.get(service.name, ""):
                complaints.append(f"{service.name} was to be {service.outcome}")
            if len(service.nights) > 1 and service.name not in self.stayed:
                complaints.append(f"{service.name} was to keep its share from one night to the next")
        passed_over = await self._passed_over()
        if "was rolled back" not in passed_over:
            complaints.append(f"the version that was rolled back was to be passed over, not: {passed_over}")
        return complaints

    async def _passed_over(self) -> str:
        """Why the second run of the service whose version was rolled back did nothing."""
        [code] = [service for service in SERVICES if service.outcome == "rolled back"]
        runs = await asyncio.to_thread(self.airflow.runs, code.dag_id)
        last = runs[-1]
        self.screen.say()
        self.screen.say(f"{code.name}, the next night, {last['state']}: {last.get('note') or ''}")
        return str(last.get("note") or "")

    def _say(self, text: str) -> None:
        now = time.time()
        hour = time.strftime("%H:%M:%S", time.gmtime(now))
        self.screen.say(f"  {clock(now - self.began)}  {hour}Z  {text}")

    def _require_time(self) -> None:
        if time.time() > self.began + LONGEST:
            raise Failed(f"the night is not over after {LONGEST:.0f} s")


async def _serves(kube: Kube, pool: str) -> bool:
    """Whether all pods of a pool are ready."""
    live: Mapping[str, Any] = await kube.get(path_of("Deployment", "default", pool))
    return bool(live.get("status", {}).get("readyReplicas", 0) == live["spec"]["replicas"])
