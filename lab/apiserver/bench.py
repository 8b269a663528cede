"""`python -m lab.apiserver.bench`: how fast the server answers, over TLS, and how much memory it takes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

CONNECTIONS = 16
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
PODS = "/api/v1/namespaces/default/pods"
TICKS = os.sysconf("SC_CLK_TCK")
TARGETS = {"get": 3000, "patch": 500, "memory": 120}


@dataclass(frozen=True)
class Rate:
    """Requests a second as seen by the client, and as many as one core would serve."""

    seen: float
    per_core: float

    def __str__(self) -> str:
        return f"{self.seen:8.0f}/s seen, {self.per_core:8.0f}/s per core of the server"


class Client:
    """Talks to the server under test through a fixed number of kept connections."""

    def __init__(self, directory: Path, pid: int) -> None:
        config = json.loads((directory / "kubeconfig").read_text())
        self.address = config["clusters"][0]["cluster"]["server"].removeprefix("https://")
        self.context = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        self.token = config["users"][0]["user"]["token"]
        self.pid = pid
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def connect(self) -> None:
        host, port = self.address.split(":")
        for _ in range(CONNECTIONS):
            self.idle.append(await asyncio.open_connection(host, int(port), ssl=self.context, limit=2**24))

    async def call(
        self, method: str, path: str, body: object = None, media: str = "application/json"
    ) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: {media}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        reader, writer = connection = self.idle.pop()
        writer.write(head.encode() + data)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        text = await reader.readexactly(length)
        self.idle.append(connection)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise RuntimeError(f"{method} {path}: {text[:300]!r}")

    async def rate(self, total: int, work: Callable[[int], Awaitable[None]]) -> Rate:
        numbers = iter(range(total))

        async def worker() -> None:
            for number in numbers:
                await work(number)

        cpu, start = self.cpu_seconds(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        seconds, used = time.perf_counter() - start, self.cpu_seconds() - cpu
        return Rate(total / seconds, total / max(used, 1 / TICKS))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def route(name: str) -> dict[str, object]:
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool"}
    backends = [{**backend, "name": f"llm-{i}", "weight": 50} for i in range(2)]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": backends}]},
    }


def pod(name: str) -> dict[str, object]:
    container = {"name": "vllm", "image": "vllm:1", "ports": [{"containerPort": 8000}]}
    metadata = {"name": name, "labels": {"app": "llm", "pool": name[-1]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


async def measure(directory: Path, pid: int, requests: int, objects: int) -> bool:
    client = Client(directory, pid)
    await client.connect()
    await client.call("POST", ROUTES, route("r"))
    weights = f"{ROUTES}/r"

    def patch(number: int) -> Awaitable[None]:
        operation = {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": number % 100}
        return client.call("PATCH", weights, [operation], "application/json-patch+json")

    await client.rate(requests // 10, lambda _: client.call("GET", weights))
    gets = await client.rate(requests, lambda _: client.call("GET", weights))
    patches = await client.rate(requests // 4, patch)
    creates = await client.rate(objects, lambda n: client.call("POST", PODS, pod(f"pod-{n}")))
    memory = client.megabytes()
    lists = await client.rate(20, lambda _: client.call("GET", f"{PODS}?labelSelector=pool%3D1"))
    print(f"GET an HTTPRoute           {gets}")
    print(f"JSON patch of an HTTPRoute {patches}")
    print(f"create a Pod               {creates}")
    print(f"list a tenth of {objects} Pods {lists}")
    print(f"memory with {objects} objects  {memory:8.0f} MB")
    return (
        gets.per_core >= TARGETS["get"]
        and patches.per_core >= TARGETS["patch"]
        and memory <= TARGETS["memory"]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab.apiserver.bench", description=__doc__)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--objects", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        command = [sys.executable, "-m", "lab.apiserver", "--dir", name]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            if not server.stdout.readline().startswith("https://"):
                print("the server did not start", file=sys.stderr)
                return 2
            return 0 if uvloop.run(measure(directory, server.pid, args.requests, args.objects)) else 1
        finally:
            server.terminate()
            server.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main())
