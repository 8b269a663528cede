"""The API client against a scripted server: errors, patches, and a watch that survives everything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from lab.kube.client import Kube, KubeError
from lab.kube.informer import Informer
from lab.kube.kubeconfig import load_kubeconfig
from lab.kube.objects import path_of, path_of_object

PODS = path_of("Pod", "default")


def pod(name: str, version: int, uid: str | None = None) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
        }
    }


def listing(version: int, *items: dict[str, Any]) -> web.Response:
    return web.json_response(
        {
            "apiVersion": "v1",
            "kind": "PodList",
            "metadata": {"resourceVersion": str(version)},
            "items": list(items),
        }
    )


def events(*pairs: tuple[str, dict[str, Any]]) -> web.Response:
    lines = [json.dumps({"type": kind, "object": obj}) + "\n" for kind, obj in pairs]
    return web.Response(text="".join(lines))


def failure(code: int, reason: str) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": f"because {reason}"}
    return web.json_response(body, status=code)


class Server:
    """Answers each request with the next of `script`, then hangs; remembers what was asked."""

    def __init__(self) -> None:
        self.script: list[web.Response | Exception] = []
        self.requests: list[tuple[str, str, dict[str, str], str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        content_type = request.headers.get("Content-Type", "")
        body = (await request.read()).decode()
        self.requests.append((request.method, request.path, dict(request.query), content_type, body))
        if not self.script:
            await asyncio.Event().wait()
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            assert request.transport
            request.transport.abort()
            return web.Response()
        return answer


def run(test: Callable[[Server, Kube], Any], tmp_path: Path) -> None:
    async def main() -> None:
        server = Server()
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", server.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with Kube.from_kubeconfig(kubeconfig(tmp_path, server.url)) as kube:
                await asyncio.wait_for(test(server, kube), 20)
        finally:
            await runner.cleanup()

    asyncio.run(main())


def kubeconfig(tmp_path: Path, server: str, **user: Any) -> Path:
    path = tmp_path / "kubeconfig"
    config = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin", "namespace": "llm"}}],
        "clusters": [{"name": "lab", "cluster": {"server": server + "/"}}],
        "users": [{"name": "admin", "user": user or {"token": "s3cret"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


async def take(stream: AsyncIterator[tuple[str, dict[str, Any]]], count: int) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    async for kind, obj in stream:
        seen.append((kind, obj["metadata"].get("name", "")))
        if len(seen) == count:
            break
    return seen


def test_kubeconfig_gives_server_namespace_and_token(tmp_path: Path) -> None:
    endpoint = load_kubeconfig(kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert endpoint.server == "http://127.0.0.1:1"
    assert endpoint.namespace == "llm"
    assert endpoint.headers == {"Authorization": "Bearer s3cret"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no: [yaml",
        "current-context: x",
        "current-context: x\ncontexts: []",
        "{current-context: x, contexts: [{name: x, context: {cluster: y}}], "
        "clusters: [{name: y, cluster: {}}]}",
    ],
)
def test_nonsense_is_no_kubeconfig(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(ValueError, match="kubeconfig"):
        load_kubeconfig(tmp_path / "kubeconfig")


def test_login_plugins_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token"):
        load_kubeconfig(kubeconfig(tmp_path, "https://x", exec={"command": "gke-gcloud-auth-plugin"}))


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (("Node",), "/api/v1/nodes"),
        (("Node", "ignored", "n1", "status"), "/api/v1/nodes/n1/status"),
        (("Pod", "default", "a"), "/api/v1/namespaces/default/pods/a"),
        (("Deployment",), "/apis/apps/v1/deployments"),
    ],
)
def test_paths(args: tuple[str, ...], path: str) -> None:
    assert path_of(*args) == path


def test_path_of_an_object_defaults_its_namespace() -> None:
    obj = {"kind": "Pod", "metadata": {"name": "a"}}
    assert path_of_object(obj) == "/api/v1/namespaces/default/pods/a"


def test_errors_carry_status_reason_and_message(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        server.script = [failure(409, "Conflict"), web.Response(status=502, text="no Status"), OSError()]
        for status, reason in [(409, "Conflict"), (502, "Bad Gateway"), (0, "Unreachable")]:
            with pytest.raises(KubeError) as caught:
                await kube.create(PODS, pod("a", 1))
            assert (caught.value.status, caught.value.reason) == (status, reason)
            assert caught.value.message

    run(test, tmp_path)


def test_apply_is_a_forced_patch_with_a_field_manager(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        server.script = [web.json_response({})]
        obj = {"kind": "Pod", **pod("a", 1)}
        await kube.apply(obj, field_manager="me")
        method, path, query, content_type, body = server.requests[0]
        assert (method, path) == ("PATCH", f"{PODS}/a")
        assert query == {"fieldManager": "me", "force": "true"}
        assert content_type == "application/apply-patch+yaml"
        assert json.loads(body) == obj

    run(test, tmp_path)


def test_list_items_know_their_kind(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        server.script = [listing(3, pod("a", 1))]
        (item,) = await kube.list(PODS)
        assert (item["apiVersion"], item["kind"]) == ("v1", "Pod")

    run(test, tmp_path)


def test_watch_resumes_where_it_was_cut(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        server.script = [
            listing(3, pod("a", 1)),
            events(("ADDED", pod("b", 5)), ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})),
            OSError(),
            events(("DELETED", pod("a", 10))),
        ]
        seen = await take(kube.watch(PODS), 4)
        assert seen == [("ADDED", "a"), ("SYNCED", ""), ("ADDED", "b"), ("DELETED", "a")]
        assert [query.get("resourceVersion") for _, _, query, _, _ in server.requests] == [
            None,
            "3",
            "9",
            "9",
        ]

    run(test, tmp_path)


@pytest.mark.parametrize(
    "gone",
    [failure(410, "Expired"), events(("ERROR", {"code": 410, "reason": "Expired", "message": "too old"}))],
    ids=["answer", "event"],
)
def test_watch_lists_again_when_its_version_is_gone(tmp_path: Path, gone: web.Response) -> None:
    async def test(server: Server, kube: Kube) -> None:
        server.script = [
            listing(3, pod("kept", 1), pod("vanished", 2), pod("remade", 3)),
            gone,
            listing(20, pod("kept", 1), pod("new", 12), pod("remade", 15, uid="other")),
        ]
        seen = await take(kube.watch(PODS), 9)
        assert seen[3] == ("SYNCED", "")
        assert sorted(seen[4:8]) == [
            ("ADDED", "new"),
            ("ADDED", "remade"),
            ("DELETED", "remade"),
            ("DELETED", "vanished"),
        ]
        assert seen[4:].index(("DELETED", "remade")) < seen[4:].index(("ADDED", "remade"))
        assert seen[8] == ("SYNCED", "")

    run(test, tmp_path)


def test_watch_takes_lines_longer_than_the_buffer(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        huge = pod("huge", 4)
        huge["metadata"]["annotations"] = {"x": "y" * 1_000_000}
        server.script = [listing(3), events(("ADDED", huge))]
        assert await take(kube.watch(PODS), 2) == [("SYNCED", ""), ("ADDED", "huge")]

    run(test, tmp_path)


def test_informer_reads_its_own_writes_and_never_goes_back(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        informer = Informer(kube, PODS)
        changes: list[tuple[bool, bool]] = []
        informer.subscribe(lambda before, after: changes.append((before is not None, after is not None)))
        informer.observe(pod("a", 5))
        informer.observe(pod("a", 4))
        assert informer.items["default", "a"]["metadata"]["resourceVersion"] == "5"
        informer.forget(pod("a", 5))
        informer.observe(pod("a", 6))
        assert informer.get("default", "a") is None
        informer.observe(pod("a", 7, uid="second life"))
        assert informer.get("default", "a")
        assert changes == [(False, True), (True, False), (False, True)]

    run(test, tmp_path)


def test_informer_follows_the_server(tmp_path: Path) -> None:
    async def test(server: Server, kube: Kube) -> None:
        labelled = pod("a", 1)
        labelled["metadata"]["labels"] = {"app": "x"}
        server.script = [listing(3, labelled, pod("b", 2)), events(("DELETED", pod("b", 4)))]
        informer = Informer(kube, PODS)
        gone = asyncio.Event()
        informer.subscribe(lambda _, after: gone.set() if after is None else None)
        task = asyncio.create_task(informer.run())
        await informer.synced.wait()
        await gone.wait()
        assert [obj["metadata"]["name"] for obj in informer.list("default")] == ["a"]
        assert informer.list("default", {"app": "x"})
        assert not informer.list("default", {"app": "y"})
        assert not informer.list("elsewhere")
        task.cancel()

    run(test, tmp_path)


def test_a_server_that_is_too_busy_is_asked_again(tmp_path: Path) -> None:
    """As a kube-apiserver is for some seconds after definitions have gone."""

    async def test(server: Server, kube: Kube) -> None:
        busy = [failure(429, "TooManyRequests") for _ in range(2)]
        server.script = [*busy, listing(1, pod("a", 1))]
        assert [each["metadata"]["name"] for each in await kube.list(PODS)] == ["a"]
        assert len(server.requests) == 3

    run(test, tmp_path)


def test_a_server_that_stays_too_busy_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.kube.client.BUSY_PATIENCE", 0.0)

    async def test(server: Server, kube: Kube) -> None:
        server.script = [failure(429, "TooManyRequests")]
        with pytest.raises(KubeError, match="TooManyRequests"):
            await kube.list(PODS)

    run(test, tmp_path)
