"""Watching a rollout from outside: the cluster's API, Prometheus, the clients, Airflow's REST API."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, TypeVar

import aiohttp

from lab.airflow.client import AirflowClient, AirflowError
from lab.demo.snapshot import Arm, Clients, Snapshot, Task, asked_shares, backends
from lab.demo.source import Source
from lab.demo.view import ENDINGS, PREPARATION, STEP_TASKS
from lab.kube.client import Kube, KubeError
from lab.kube.objects import Obj, path_of

PODS = path_of("Pod", "default")
LEASES = path_of("Lease", "default")
JUDGED = re.compile(r"^step \d+ at [^:]*: (.+?)(?: Warning: .*)?$", re.MULTILINE)
ANSWERED = "sum by (inference_pool) (vllm:request_success_total)"  # the last that is counted of a request
T = TypeVar("T")
UNREACHABLE = (aiohttp.ClientError, TimeoutError, KubeError, AirflowError, KeyError, ValueError)


@dataclass(frozen=True, slots=True)
class Run:
    """A DAG run under observation. `bake` is seconds; `before` are the clients' counts at its start."""

    run_id: str
    stable: str
    canary: str
    bake: float
    began: float
    before: Clients


@dataclass(frozen=True, slots=True)
class Observer:
    """Everything the demo reads. A source that does not answer leaves its part of a snapshot empty."""

    dag_id: str
    source: Source
    airflow: AirflowClient
    kube: Kube
    http: aiohttp.ClientSession
    prometheus_url: str
    loadgen_url: str

    async def snapshot(self, run: Run) -> Snapshot:
        """The run and both of its pools as they are now."""
        tasks, arms, clients, watcher = await asyncio.gather(
            self.tasks(run.run_id),
            self.arms((run.stable, run.canary)),
            self.clients(),
            _or(self.watcher(), ""),
        )
        elapsed = time.time() - run.began
        snapshot = Snapshot(elapsed, tasks, arms, clients.since(run.before))
        verdict = await _or(self.verdict(run.run_id, tasks), "")
        done, text = progress(snapshot, run.bake, time.time())
        return Snapshot(elapsed, tasks, arms, snapshot.clients, done, text, verdict, watcher)

    async def watcher(self) -> str:
        """Who says on a Lease that the rollout is watched, and since when; empty when nobody does."""
        leases = await self.kube.list(LEASES, labelSelector="app.kubernetes.io/managed-by=inference-rollouts")
        if not leases:
            return ""
        spec = leases[0]["spec"]
        return f"{spec['holderIdentity']} since {spec['acquireTime'][11:19]}Z"

    async def tasks(self, run_id: str) -> tuple[Task, ...]:
        """The run's tasks that are shown, in the order of the pipeline."""
        listed = await _or(asyncio.to_thread(self.airflow.task_instances, self.dag_id, run_id), [])
        shown = (_task(entry) for entry in listed if _is_shown(entry["task_id"]))
        return tuple(sorted(shown, key=_pipeline_order))

    async def verdict(self, run_id: str, tasks: tuple[Task, ...]) -> str:
        """What the last judgement said: in its log while it judges, afterwards as its result."""
        judges = [t for t in tasks if t.task_id.endswith(".judge") and t.since and t.state != "skipped"]
        for judge in reversed(judges):
            where, step = (self.dag_id, run_id, judge.task_id), judge.task_id.partition(".")[0]
            if judge.is_active:
                log = await asyncio.to_thread(self.airflow.logs, *where)
                if judgements := JUDGED.findall(log):
                    return f"{step}: {judgements[-1]}"
            elif result := await asyncio.to_thread(self.airflow.xcom, *where):
                return f"{step}: {result['verdict']}: {result['reason']}"
        return ""

    async def outcome(self, run_id: str) -> tuple[str, str]:
        """How the pipeline says that the run ended, and why; what failed where it says nothing."""
        xcom, where = self.airflow.xcom, (self.dag_id, run_id, "report")
        outcome = await asyncio.to_thread(xcom, *where, "outcome")
        reason = await asyncio.to_thread(xcom, *where, "reason")
        if outcome is None:
            return "ended without an outcome", await self._failure(run_id)
        return str(outcome), str(reason)

    async def _failure(self, run_id: str) -> str:
        entries = await asyncio.to_thread(self.airflow.task_instances, self.dag_id, run_id)
        failed = [entry for entry in entries if entry["state"] == "failed"]
        if not failed:
            return "no task has failed"
        first = min(failed, key=lambda entry: str(entry["end_date"]))
        where = (self.dag_id, run_id, first["task_id"], first["try_number"])
        log = await _or(asyncio.to_thread(self.airflow.logs, *where), "")
        errors = [text for text in log.splitlines() if "rror" in text.partition(":")[0]]
        return f"{first['task_id']} failed: {errors[-1] if errors else 'see its log'}"

    async def arms(self, pools: tuple[str, ...]) -> tuple[Arm, ...]:
        """Both arms: what the weights ask for, what Prometheus saw, how many pods there are."""
        asked, rate, errors, ttft, pods = await asyncio.gather(
            _or(self._asked(pools[0]), {}),
            self._by_pool(self.source.rate),
            self._by_pool(self.source.errors),
            self._by_pool(self.source.ttft_p95),
            _or(self._pods(), {}),
        )
        total = sum(rate.get(pool, 0.0) for pool in pools)
        return tuple(
            Arm(
                pool=pool,
                asked=asked.get(pool),
                observed=rate.get(pool, 0.0) / total if total else None,
                rate=rate.get(pool),
                errors=errors.get(pool, 0.0) / rate[pool] if rate.get(pool) else None,
                ttft_p95=ttft.get(pool),
                pods=len(pods.get(self.source.pool or pool, ())),
                pods_ready=sum(pods.get(self.source.pool or pool, ())),
            )
            for pool in pools
        )

    async def target(self) -> Obj:
        """The object whose weights move, as it is now."""
        return await self.kube.get(self.source.target)

    async def clients(self) -> Clients:
        """What the load generator's clients have seen since it started."""
        return Clients(Counter(await _or(self._outcomes(), {})))

    async def _asked(self, pool: str) -> dict[str, float]:
        return asked_shares(backends(await self.target(), pool))

    async def _pods(self) -> dict[str, list[bool]]:
        pods: dict[str, list[bool]] = {}
        for pod in await self.kube.list(PODS, labelSelector="inference-pool"):
            conditions = pod.get("status", {}).get("conditions", [])
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            pods.setdefault(pod["metadata"]["labels"]["inference-pool"], []).append(ready)
        return pods

    async def _by_pool(self, query: str) -> dict[str, float]:
        return await _or(by_pool(self.http, self.prometheus_url, query), {})

    async def _outcomes(self) -> dict[str, int]:
        async with self.http.get(f"{self.loadgen_url}/stats") as answer:
            return dict((await answer.json())["totals"]["outcomes"])


async def by_pool(http: aiohttp.ClientSession, prometheus_url: str, query: str) -> dict[str, float]:
    """What Prometheus answers now, for each pool that it knows a number of."""
    async with http.get(f"{prometheus_url}/api/v1/query", params={"query": query}) as answer:
        result = (await answer.json())["data"]["result"]
    values = {_pool(r["metric"]): float(r["value"][1]) for r in result}
    return {pool: value for pool, value in values.items() if isfinite(value)}


async def counted_pools(prometheus_url: str) -> set[str]:
    """The pools whose answers Prometheus counts: preflight refuses to judge what is not counted.

    None are where Prometheus does not answer.
    """
    async with aiohttp.ClientSession() as http:
        answered = await _or(by_pool(http, prometheus_url, ANSWERED), {})
    return {pool for pool, count in answered.items() if count > 0}


def progress(snapshot: Snapshot, bake: float, now: float) -> tuple[float | None, str]:
    """How far the task at work is, where that can be seen from outside; None where it cannot."""
    task, canary = snapshot.current, snapshot.arms[-1]
    if task is None:
        return None, ""
    if task.task_id.endswith(".judge"):
        elapsed = now - task.since
        return elapsed / bake, f"{elapsed:.0f} s, at least {bake:.0f} s of good service"
    if task.task_id == "deploy_pool" and canary.pods:
        return canary.pods_ready / canary.pods, f"{canary.pods_ready} of {canary.pods} pods ready"
    return None, ""


def _is_shown(task_id: str) -> bool:
    return "." in task_id or task_id in (*PREPARATION, *ENDINGS)


def _pipeline_order(task: Task) -> tuple[int, int, int]:
    group, _, name = task.task_id.rpartition(".")
    if group:
        return len(PREPARATION), int(group.removeprefix("step_")), STEP_TASKS.index(name)
    order = [*PREPARATION, "", *ENDINGS]
    return order.index(name), 0, 0


async def _or(reading: Awaitable[T], otherwise: T) -> T:
    try:
        return await reading
    except UNREACHABLE:
        return otherwise


def _pool(labels: dict[str, str]) -> str:
    """The arm of a series: its adapter, its pods' pool, or what the gateway calls "default_POOL"."""
    gateways = labels.get("envoy_cluster_name", "").removeprefix("default_")
    return labels.get("target_model_name") or labels.get("inference_pool") or gateways


def _task(entry: dict[str, Any]) -> Task:
    started = entry.get("start_date")
    since = datetime.fromisoformat(started).timestamp() if started else 0.0
    return Task(entry["task_id"], entry.get("state") or "", since)
