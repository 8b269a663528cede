"""The command line on a real lab: whole, beside another one, wounded, interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.cli import main
from lab.host import addresses, processes
from lab.host.processes import Process
from lab.host.state import CHECKOUT, StateDirectory
from lab.lifecycle.up import Startup, urls

LOOPBACK = re.compile("(0000000000000000FFFF0000)?.{6}7F")  # 127.x.y.z as the kernel writes it, also in IPv6
KUBECTL = Path(sys.executable).with_name("kubectl")


def run(command: str, directory: StateDirectory, *options: str) -> int:
    return main([command, "--dir", str(directory.path), *options])


def start_up(directory: StateDirectory, *options: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "lab", "up", "--dir", str(directory.path), "--rate", "10", *options]
    return subprocess.Popen(argv, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def kubectl(directory: StateDirectory, *arguments: str) -> str:
    argv = [str(KUBECTL), "--kubeconfig", str(directory.kubeconfig), *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def record_of(directory: StateDirectory) -> dict[str, Any]:
    record = directory.read()
    assert record is not None
    return record


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StateDirectory]:
    """A lab that is up for the whole module."""
    directory = StateDirectory(tmp_path_factory.mktemp("lab") / "state")
    assert run("up", directory, "--rate", "10") == 0
    yield directory
    run("down", directory)


def test_the_record_says_where_everything_is(directory: StateDirectory) -> None:
    record = record_of(directory)
    assert record["ready"] is True
    assert record["gateway"]["url"] == f"http://{record['gateway']['address']}:8080"
    assert record["subnet"].startswith(record["gateway"]["address"].rpartition(".")[0])
    assert Path(record["kubeconfig"]).exists()
    parts = ["apiserver", "envoy", "prometheus", "manager", "kubelet", "monitoring", "loadgen", "picker"]
    assert sorted(record["processes"]) == sorted(parts)
    assert all(Path(process["log"]).exists() for process in record["processes"].values())
    assert len(urls(record)) == 5


def test_kubectl_sees_the_cluster(directory: StateDirectory) -> None:
    route = json.loads(kubectl(directory, "get", "httproute", "routes-to-llm", "-o", "json"))
    assert [ref["name"] for ref in route["spec"]["rules"][0]["backendRefs"]] == ["llm-pool"]
    kubectl(
        directory, "wait", "--for=condition=Ready", "pod", "-l", "inference-pool=llm-pool", "--timeout=5s"
    )


def test_it_listens_on_loopback_only(directory: StateDirectory) -> None:
    inodes = set()
    for process in directory.processes():
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            target = os.readlink(entry)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = [row.split() for file in ("tcp", "tcp6") for row in rows(f"/proc/net/{file}")]
    ours = [row[1].partition(":")[0] for row in listening if row[3] == "0A" and row[9] in inodes]
    assert ours
    assert all(LOOPBACK.fullmatch(address) for address in ours)


def rows(file: str) -> list[str]:
    return Path(file).read_text().splitlines()[1:]


def test_status_of_a_whole_lab(directory: StateDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", directory) == 0
    assert "PROBLEM" not in capsys.readouterr().out


def test_up_again_changes_nothing(directory: StateDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    before = record_of(directory)
    assert run("up", directory) == 0
    assert "already up" in capsys.readouterr().out
    assert record_of(directory) == before


def test_a_second_lab_runs_beside_it(directory: StateDirectory, tmp_path: Path) -> None:
    second = StateDirectory(tmp_path / "second")
    child = start_up(second, "--foreground")
    try:
        wait_for(lambda: (second.read() or {}).get("ready"))
        assert record_of(second)["subnet"] != record_of(directory)["subnet"]
        assert run("status", second) == 0
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=30)
    assert run("status", second) == 3
    assert run("status", directory) == 0


@pytest.mark.parametrize("moment", ["logs/apiserver.log", "kubeconfig", "logs/loadgen.log"])
def test_up_interrupted_leaves_nothing(tmp_path: Path, moment: str) -> None:
    directory = StateDirectory(tmp_path / "state")
    child = start_up(directory)
    wait_for((directory.path / moment).exists)
    started = directory.processes()
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=30)
    assert child.returncode == 130, output
    assert not any(process.is_alive() for process in started)
    assert directory.read() is None


def test_a_process_that_ends_during_up_is_named(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path / "state")
    child = start_up(directory)
    wait_for(lambda: "envoy" in (directory.read() or {"processes": {}})["processes"])
    os.kill(record_of(directory)["processes"]["envoy"]["pid"], signal.SIGKILL)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "envoy ended" in output
    assert directory.read() is None


def test_a_wounded_lab_is_broken_and_goes_down(
    directory: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test of the module: it ends the lab."""
    record = record_of(directory)
    os.kill(record["processes"]["kubelet"]["pid"], signal.SIGKILL)
    wait_for(lambda: run("status", directory) == 1)
    assert "PROBLEM gateway" in capsys.readouterr().out
    assert run("up", directory) == 1
    assert run("down", directory) == 0
    assert run("status", directory) == 3
    for parts in map(urlsplit, urls(record)):
        assert not addresses.is_listening(str(parts.hostname), int(parts.port or 0))


def test_clients_that_come_later_forget_nobody_who_works_beside_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = StateDirectory(tmp_path / "lab")
    lab = Startup(directory, 1, Path("true"), lambda _: None)
    lab.record["gateway"] = {"url": "http://127.0.0.1:1"}
    directory.write(lab.record)
    directory.add(Process("guardian", 1, 1, tmp_path / "log"))
    monkeypatch.setattr(processes, "start", lambda name, argv, log, **_: Process(name, 2, 2, log))
    lab.add_clients("chat", "x-service=chat", 5.0)
    assert [process.name for process in directory.processes()] == ["guardian", "clients-chat"]
