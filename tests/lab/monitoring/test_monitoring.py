"""Prometheus: where the binary comes from, what it is told to scrape, and that it does."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from lab.host.addresses import free_port
from lab.monitoring.binary import PrometheusNotFound, find_prometheus
from lab.monitoring.prometheus import prometheus_argv, targets_folder, write_config, write_targets
from lab.monitoring.targets import target_groups

PATIENCE = 60.0


def pod(name: str, phase: str = "Running", pool: str | None = "llm-pool", **more: Any) -> dict[str, Any]:
    ports = [{"containerPort": 9000}, {"name": "http", "containerPort": 8000}]
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"inference-pool": pool} if pool else {},
        },
        "spec": {"containers": [{"name": "vllm", "ports": ports, **more}]},
        "status": {"phase": phase, "podIP": f"127.1.1.{len(name)}"},
    }


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_target_for_each_running_pod_of_a_pool() -> None:
    pods = [
        pod("bb"),
        pod("a"),
        pod("pending", phase="Pending"),
        pod("no-pool", pool=None),
        pod("no-port", ports=[]),
    ]
    assert target_groups(pods)["vllm"] == [
        {
            "targets": ["127.1.1.1:8000"],
            "labels": {"namespace": "default", "pod": "a", "inference_pool": "llm-pool"},
        },
        {
            "targets": ["127.1.1.2:8000"],
            "labels": {"namespace": "default", "pod": "bb", "inference_pool": "llm-pool"},
        },
    ]


def test_an_unnamed_port_will_do() -> None:
    [group] = target_groups([pod("a", ports=[{"containerPort": 7000}])])["vllm"]
    assert group["targets"] == ["127.1.1.1:7000"]


def test_a_picker_is_scraped_for_the_pool_that_it_is_told() -> None:
    picker = pod("epp", pool=None, args=["--pool-name=llm-pool", "--pool-namespace=default"])
    assert target_groups([picker, pod("new", phase="Pending", pool=None, args=["--pool-name=x"])]) == {
        "vllm": [],
        "epp": [
            {
                "targets": ["127.1.1.3:9090"],
                "labels": {"namespace": "default", "pod": "epp", "inference_pool": "llm-pool"},
            }
        ],
    }


def test_an_installed_prometheus_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = executable(tmp_path / "prometheus", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_prometheus(tmp_path / "cache") == installed


def test_an_unpacked_prometheus_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    unpacked = tmp_path / "prometheus" / "usr" / "bin" / "prometheus"
    unpacked.parent.mkdir(parents=True)
    unpacked.touch()
    assert find_prometheus(tmp_path) == unpacked


def test_without_apt_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        PrometheusNotFound, match=r"apt-get\. Install it with `sudo apt-get install prometheus`"
    ):
        find_prometheus(tmp_path)


def test_without_network_the_error_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        executable(tmp_path / tool, "echo 'E: no network here.' >&2; exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    with pytest.raises(PrometheusNotFound, match=r"E: no network here\. Install it with"):
        find_prometheus(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture(scope="module")
def prometheus_binary() -> Path:
    try:
        return find_prometheus()
    except PrometheusNotFound as error:
        pytest.skip(str(error))


@pytest.fixture
def prometheus(prometheus_binary: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    write_config(tmp_path, "http://127.0.0.1:1")
    command = prometheus_argv(prometheus_binary, tmp_path, port)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: process.poll() is not None or is_ready(port), "Prometheus is ready")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/-/ready") as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError):
        return False


def ask(url: str, query: str) -> list[dict[str, Any]]:
    with urlopen(f"{url}/api/v1/query?query={quote(query)}") as response:
        result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(0.05)


def test_prometheus_takes_targets_in_while_it_runs(prometheus: str, tmp_path: Path) -> None:
    labels = {"namespace": "default", "pod": "a", "inference_pool": "llm-pool"}
    own_address = prometheus.removeprefix("http://")
    write_targets(tmp_path, "vllm", [{"targets": [own_address], "labels": labels}])
    until(lambda: ask(prometheus, 'up{job="vllm"} == 1'), "the target is scraped")
    [sample] = ask(prometheus, 'up{job="vllm"}')
    assert {name: sample["metric"][name] for name in labels} == labels
    until(lambda: ask(prometheus, 'up{job="envoy"} == 0'), "Envoy is tried")
    write_targets(tmp_path, "vllm", [])
    until(lambda: not ask(prometheus, 'up{job="vllm"}'), "the target is gone")


def test_a_new_configuration_keeps_the_targets(tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:1")
    groups = [{"targets": ["127.0.0.1:2"], "labels": {}}]
    write_targets(tmp_path, "epp", groups)
    write_config(tmp_path, "http://127.0.0.1:3")
    assert json.loads((targets_folder(tmp_path) / "epp.json").read_text()) == groups


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_debians_package_is_unpacked_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, tools = tmp_path / "content", tmp_path / "tools"
    executable(content / "usr" / "bin" / "prometheus", "exit 0")
    (content / "DEBIAN").mkdir()
    control = "Package: prometheus\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: test\n"
    (content / "DEBIAN" / "control").write_text(control)
    package = tmp_path / "prometheus_1_all.deb"
    subprocess.run(["dpkg-deb", "-b", content, package], check=True, capture_output=True)
    executable(tools / "apt-get", f'[ "$1" = download ] || exit 0; cp {package} .')
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "prometheus" else tool)
    cache = tmp_path / "cache"
    assert find_prometheus(cache) == cache / "prometheus" / "usr" / "bin" / "prometheus"
    assert [path.name for path in cache.iterdir()] == ["prometheus"]
