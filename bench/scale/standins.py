"""Stand-ins of an API server and a metrics store: `python -m bench.scale.standins ROLLOUTS SINCE CHURN`.

In one process they answer what a watcher asks, with full payloads, and count requests and bytes (`GET
/counted`). Every pod counts requests; every CHURN seconds the status of some pod changes. The first line
printed is the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web

from bench.cost import CANARY, STABLE, samples_of
from bench.scale.world import ARMS, NAMESPACE, PODS, Object, objects_of
from inference_rollouts.core.objects.api_groups import GATEWAY_API, LEASE_API, POOL_APIS

RATE = 10.0  # requests/s of each pod; 2 % fail
KINDS = {
    ("v1", "Pod"): "pods",
    ("v1", "Service"): "services",
    (GATEWAY_API, "HTTPRoute"): "httproutes",
    (POOL_APIS[0], "InferencePool"): "inferencepools",
    (LEASE_API, "Lease"): "leases",
}
NUMBER = re.compile(r'"(?:new|old)-(\d+)\|')


class Cluster:
    """Objects by resource and name, and the events since the start."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self.objects: dict[str, dict[str, Object]] = {name: {} for name in KINDS.values()}
        self.by_label: dict[tuple[str, str], list[Object]] = defaultdict(list)
        self.version = 1
        self.events: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self.changed = asyncio.Event()
        for each in objects:
            self.objects[KINDS[each["apiVersion"], each["kind"]]][each["metadata"]["name"]] = each
            for pair in each["metadata"].get("labels", {}).items():
                self.by_label[pair].append(each)

    def change(self, resource: str, obj: Object) -> None:
        """Store an object as it is from now on, and tell those who watch."""
        self.version += 1
        known = obj["metadata"]["name"] in self.objects[resource]
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[resource][obj["metadata"]["name"]] = obj
        event = {"type": "MODIFIED" if known else "ADDED", "object": obj}
        self.events[resource].append((self.version, json.dumps(event).encode() + b"\n"))
        self.changed.set()
        self.changed = asyncio.Event()

    def select(self, resource: str, selector: str) -> list[Object]:
        if not selector or resource != "pods":
            return list(self.objects[resource].values())
        key, _, value = selector.partition(",")[0].partition("=")
        return self.by_label[key, value]

    async def churn(self, seconds: float) -> None:
        for name in itertools.cycle(self.objects["pods"]):
            await asyncio.sleep(seconds)
            pod = self.objects["pods"][name]
            pod["status"]["conditions"][0]["lastProbeTime"] = f"{time.time()}"
            self.change("pods", pod)


class Counted:
    """Requests and bytes of answers, by whom they were asked of."""

    def __init__(self) -> None:
        self.requests: dict[str, int] = defaultdict(int)
        self.bytes: dict[str, int] = defaultdict(int)

    def add(self, who: str, size: int) -> None:
        self.requests[who] += 1
        self.bytes[who] += size


class StandIns:
    """Both servers."""

    def __init__(self, rollouts: int, since: float, churn: float) -> None:
        self._churn = churn
        self.cluster = Cluster(each for number in range(rollouts) for each in objects_of(number, since))
        self.counted = Counted()
        self.begun = since
        self._templates: dict[int, list[str]] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**24)
        where = "/{root:api/v1|apis/[^/]+/[^/]+}"
        app.router.add_get("/counted", self._told)
        app.router.add_post("/api/v1/query", self._query)
        app.router.add_post("/api/v1/query_range", self._range)
        app.router.add_get(where, self._discovery)
        app.router.add_get(where + "/namespaces/{namespace}/{resource}", self._list)
        app.router.add_get(where + "/namespaces/{namespace}/{resource}/{name}", self._get)
        app.router.add_patch(where + "/namespaces/{namespace}/{resource}/{name}", self._apply)
        app.router.add_post(where + "/namespaces/{namespace}/{resource}", self._create)
        app.on_startup.append(self._start)
        return app

    async def _start(self, app: web.Application) -> None:
        app["churn"] = asyncio.create_task(self.cluster.churn(self._churn))

    async def _told(self, request: web.Request) -> web.Response:
        return web.json_response({"requests": self.counted.requests, "bytes": self.counted.bytes})

    def _json(self, value: Any, status: int = 200) -> web.Response:
        body = json.dumps(value).encode()
        self.counted.add("cluster", len(body))
        return web.Response(body=body, content_type="application/json", status=status)

    async def _discovery(self, request: web.Request) -> web.Response:
        api = request.match_info["root"].partition("/")[2]
        resources = [
            {"name": name, "kind": kind, "namespaced": True}
            for (version, kind), name in KINDS.items()
            if version == api
        ]
        return self._json({"resources": resources}, 200 if resources else 404)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        resource, query = request.match_info["resource"], request.query
        if query.get("watch"):
            return await self._watch(request, resource)
        items = self.cluster.select(resource, query.get("labelSelector", ""))
        first, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        more = {"continue": str(first + limit)} if len(items) > first + limit else {}
        metadata = {"resourceVersion": str(self.cluster.version)} | more
        return self._json({"metadata": metadata, "items": items[first : first + limit]})

    async def _watch(self, request: web.Request, resource: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # who watched has gone
            async for line in self._events(resource, request):
                self.counted.bytes["cluster"] += len(line)
                await response.write(line)
        self.counted.add("cluster", 0)
        return response

    async def _events(self, resource: str, request: web.Request) -> AsyncIterator[bytes]:
        seen = int(request.query["resourceVersion"])
        end = time.monotonic() + float(request.query.get("timeoutSeconds", 300))
        while (left := end - time.monotonic()) > 0:
            changed = self.cluster.changed
            for version, line in self.cluster.events[resource]:
                if version > seen:
                    seen = version
                    yield line
            try:
                await asyncio.wait_for(changed.wait(), left)
            except TimeoutError:
                break
        mark = {"kind": resource, "metadata": {"resourceVersion": str(self.cluster.version)}}
        yield json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if obj := self.cluster.objects[request.match_info["resource"]].get(name):
            return self._json(obj)
        return self._json({"kind": "Status", "reason": "NotFound", "details": {"name": name}}, 404)

    async def _apply(self, request: web.Request) -> web.Response:
        obj = json.loads(await request.read())
        obj["metadata"] |= {"namespace": NAMESPACE, "uid": f"uid-{request.match_info['name']}"}
        self.cluster.change(request.match_info["resource"], obj)
        return self._json(obj)

    async def _create(self, request: web.Request) -> web.Response:
        return self._json(json.loads(await request.read()), 201)

    async def _query(self, request: web.Request) -> web.Response:
        asked = await request.post()
        return self._stored(self._answer(asked, "vector", [float(str(asked["time"]))]))

    async def _range(self, request: web.Request) -> web.Response:
        asked = await request.post()
        start, end, step = (float(str(asked[name])) for name in ("start", "end", "step"))
        times = [start + step * place for place in range(math.floor((end - start) / step) + 1)]
        return self._stored(self._answer(asked, "matrix", times))

    def _stored(self, body: bytes) -> web.Response:
        self.counted.add("store", len(body))
        return web.Response(body=body, content_type="application/json")

    def _answer(self, asked: Mapping[str, Any], kind: str, times: Sequence[float]) -> bytes:
        """What is the same in each answer is made once."""
        found = NUMBER.search(str(asked["query"]))
        assert found, asked
        number = int(found[1])
        if (template := self._templates.get(number)) is None:
            template = self._templates[number] = _template(number)
        parts = [f'{{"status":"success","data":{{"resultType":"{kind}","result":[']
        for place, share in enumerate(_SHARES * (2 * PODS)):
            values = ",".join(self._value(place // len(_SHARES), share, at) for at in times)
            parts.append(template[place])
            parts.append(f'"value":{values}}}' if kind == "vector" else f'"values":[{values}]}}')
        return "".join([*parts, "]}}"]).encode()

    def _value(self, pod: int, share: float, at: float) -> str:
        total = int(RATE * max(0.0, at - self.begun) * (1 + pod / 97))
        return f'[{at:.3f},"{int(total * share) if share else 1}"]'


_SHARES = [value / 10_000 for _, value in samples_of(CANARY, 10_000)]
_SHARES[0] = 0.0


def _template(number: int) -> list[str]:
    labels = [
        {
            **labels,
            "inference_pool": f"{arm}-{number}",
            "pod": f"{arm}-{number}-{pod}",
            "namespace": NAMESPACE,
        }
        for arm in ARMS
        for pod in range(PODS)
        for labels, _ in samples_of(STABLE, 1)
    ]
    texts = [json.dumps(each, separators=(",", ":")) for each in labels]
    return [f'{"," if place else ""}{{"metric":{text},' for place, text in enumerate(texts)]


def main() -> None:
    rollouts, since, churn = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    app = StandIns(rollouts, since, churn).app()

    async def serve() -> None:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
