"""What is left after a restart, a kill, a cut journal; and how little the journal may grow."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.cluster import Cluster, now_text
from lab.apiserver.storage import store as store_module
from lab.apiserver.storage.history import HISTORY, Snapshot
from lab.apiserver.storage.store import Store
from tests.support.lab.apiserver_process import GATEWAY, MERGE_PATCH, ROOT, ApiServer, config_map, route

MAPS = "/api/v1/namespaces/default/configmaps"


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    server = ApiServer(tmp_path)
    with server:
        token = server.token
        server.ok("POST", f"{GATEWAY}/httproutes", route("r"))
        server.ok("POST", MAPS, config_map("gone"))
        server.ok("DELETE", f"{MAPS}/gone")
        before = server.ok("GET", f"{GATEWAY}/httproutes/r")
        version = int(server.ok("GET", MAPS)["metadata"]["resourceVersion"])
        assert server.stop() == 0
        server.start()
        assert server.token == token
        assert server.ok("GET", f"{GATEWAY}/httproutes/r") == before
        assert server.call("GET", f"{MAPS}/gone").code == 404
        made = server.ok("POST", MAPS, config_map("next"))
        assert int(made["metadata"]["resourceVersion"]) == version + 1
        expired = server.watch(f"{MAPS}?resourceVersion={version - 1}", 1)
        assert expired[0]["object"]["code"] == 410


def test_a_write_that_was_answered_survives_a_kill(tmp_path: Path) -> None:
    server = ApiServer(tmp_path)
    with server:
        server.ok("POST", MAPS, config_map("c", a="1"))
        made = server.ok("PATCH", f"{MAPS}/c", {"data": {"a": "2"}}, MERGE_PATCH)
        server.kill()
        with (tmp_path / "journal").open("ab") as journal:
            journal.write(b'[9999,"configmaps","default","torn"]\t"metadata":{"na')
        server.start()
        assert server.ok("GET", f"{MAPS}/c") == made
        assert server.call("GET", f"{MAPS}/torn").code == 404
        after = server.ok("POST", MAPS, config_map("after"))
        server.stop()
        server.start()
        assert server.ok("GET", f"{MAPS}/after") == after


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    with ApiServer(tmp_path):
        for name in ("kubeconfig", "tokens", "server.key", "accounts.key", "journal"):
            assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def _put(store: Store, name: str, value: int) -> None:
    store.put("things", {"metadata": {"name": name}, "value": value})


def test_the_journal_is_rewritten_before_it_grows_too_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LEAST_TO_COMPACT", 10_000)
    store = Store(tmp_path)
    for i in range(2000):
        _put(store, f"t{i % 3}", i)
    assert (tmp_path / "journal").stat().st_size < 20_000
    store.close()
    again = Store(tmp_path)
    assert again.version == store.version
    assert [entry.object()["value"] for entry in again.select("things")] == [1998, 1999, 1997]
    again.close()


def test_history_tells_how_far_back_it_goes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    table = store.table("things")
    for i in range(HISTORY + 10):
        _put(store, "t", i)
    assert len(table.history) == HISTORY
    assert table.since == table.history[0].version - 1
    store.close()


def test_a_snapshot_shows_the_past(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _put(store, "a", 1)
    _put(store, "b", 1)
    past = Snapshot(store, store.version)
    _put(store, "a", 2)
    store.delete("things", "", "b")
    _put(store, "c", 1)
    assert [(entry.name, entry.object()["value"]) for entry in past.select("things")] == [("a", 1), ("b", 1)]
    assert past.get("things", "", "c") is None
    store.close()


def test_a_definition_changed_by_hand_is_kept(tmp_path: Path) -> None:
    definitions = ROOT / "lab" / "crds"
    cluster = Cluster(tmp_path, definitions)
    crd = cluster.resource("apiextensions.k8s.io", "customresourcedefinitions")
    name = "inferencepools.inference.networking.k8s.io"
    before = cluster.objects.served(crd, cluster.objects.find(crd, "", name))

    def rename(document: dict[str, object]) -> dict[str, object]:
        changed = json.loads(json.dumps(document))
        changed["spec"]["names"]["shortNames"] = ["ip"]
        return dict(changed)

    changed = cluster.operations.patch(crd, "", name, rename, Call("hand", now_text()))
    assert changed["metadata"]["generation"] == before["metadata"]["generation"] + 1
    cluster.store.close()
    again = Cluster(tmp_path, definitions)
    assert again.objects.find(crd, "", name).object()["metadata"]["generation"] == 2
    again.store.close()


def test_a_second_server_leaves_a_state_directory_alone(tmp_path: Path) -> None:
    with ApiServer(tmp_path) as server:
        server.ok("POST", MAPS, config_map("c"))
        command = [sys.executable, "-m", "lab.apiserver", "--dir", str(tmp_path)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert second.returncode == 1
        assert f"another server uses {tmp_path}" in second.stderr
        assert server.ok("GET", f"{MAPS}/c")
    none = subprocess.run([*command, "--crds", "/no/folder"], cwd=ROOT, capture_output=True, text=True)
    assert none.returncode == 2


def test_a_second_server_says_that_the_port_is_taken(tmp_path: Path) -> None:
    async def collide() -> None:
        from lab.apiserver.endpoints.server import Server

        first, second = Server(tmp_path / "a"), Server(tmp_path / "b")
        url = await first.start(0)
        with pytest.raises(OSError, match="in use"):
            await second.start(int(url.rpartition(":")[2]))
        await first.stop()

    asyncio.run(collide())
