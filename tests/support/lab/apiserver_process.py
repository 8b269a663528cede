"""An API server of the lab as a process of its own, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/{}/configmaps"
GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/default"
DEADLINE = 60.0


@dataclass
class Reply:
    """An answer: its code, its JSON (or its text where it is none), its headers."""

    code: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class ApiServer:
    """Runs `python -m lab.apiserver` on a state directory; use as a context manager."""

    def __init__(self, directory: Path, definitions: Path | None = None, *options: str) -> None:
        self.directory = directory
        self.options = (*(("--crds", str(definitions)) if definitions else ()), *options)
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        command = [sys.executable, "-m", "lab.apiserver", "--port", "0", "--dir", str(self.directory)]
        self.process = subprocess.Popen(
            [*command, *self.options], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("https://127.0.0.1:"), "the server did not start"
        config = json.loads((self.directory / "kubeconfig").read_text())
        self.token = config["users"][0]["user"]["token"]
        self.context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))

    def stop(self) -> int:
        """Asks the server to end and returns its exit status."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=DEADLINE)

    def connect(self) -> http.client.HTTPSConnection:
        host, port = self.url.removeprefix("https://").split(":")
        return http.client.HTTPSConnection(host, int(port), context=self.context, timeout=DEADLINE)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        media: str = "application/json",
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        raw = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", "User-Agent": "test/1"}
        if raw is not None:
            sent["Content-Type"] = media
        connection = self.connect()
        try:
            connection.request(method, path, raw, {**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
            try:
                document = json.loads(text)
            except ValueError:
                document = text
            return Reply(answer.status, document, {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def ok(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Any:
        reply = self.call(method, path, body, media)
        assert reply.code < 300, reply.body
        return reply.body

    def watch(self, path: str, seconds: int = 2) -> list[Any]:
        """Every event of a watch that ends by itself."""
        joint = "&" if "?" in path else "?"
        reply = self.call("GET", f"{path}{joint}watch=1&timeoutSeconds={seconds}")
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        return [json.loads(line) for line in text.splitlines()]

    def kubectl(self, *args: str, check: bool = True, stdin: str | None = None) -> str:
        """What kubectl prints; with `check`, it must succeed."""
        program = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert program, "kubectl is not installed"
        environment = {
            "KUBECONFIG": str(self.directory / "kubeconfig"),
            "HOME": str(self.directory),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            [program, *args], env=environment, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr


def until(happened: Any, seconds: float = DEADLINE) -> Any:
    """What `happened()` returns as soon as it is true; fails after the deadline."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = happened()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def causes(body: Any) -> list[str]:
    """The fields that an Invalid answer complains of."""
    return sorted(cause["field"] for cause in body["details"]["causes"])


def route(name: str = "r", *weights: int) -> dict[str, Any]:
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool"}
    backends = [
        {**backend, "name": f"pool-{i}", "weight": weight} for i, weight in enumerate(weights or (1,))
    ]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": backends}]},
    }


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "d", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "vllm", "image": "vllm:1", "ports": [{"containerPort": 8000}]}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }
