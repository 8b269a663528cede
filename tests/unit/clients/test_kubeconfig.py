"""What a kubeconfig says: its cluster and namespace, as kubectl understands it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.cli import main
from inference_rollouts.clients.kubeconfig import connect, namespace_of
from inference_rollouts.core.errors import ClusterRefused


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pod, wherever the tests run."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def written(path: Path, current: str, **namespaces: str) -> Path:
    """A kubeconfig of one cluster, with these namespaces by context; an empty one is not said."""
    contexts: list[dict[str, Any]] = []
    for name, namespace in namespaces.items():
        context = {"cluster": name, "user": name} | ({"namespace": namespace} if namespace else {})
        contexts.append({"name": name, "context": context})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "contexts": contexts,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:1"}} for name in namespaces],
        "users": [{"name": name, "user": {"token": "t"}} for name in namespaces],
    }
    path.write_text(json.dumps(config))
    return path


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    file = written(tmp_path / "config", "prod", prod="shop", test="", other="elsewhere")
    assert namespace_of(file) == "shop"
    assert namespace_of(file, "other") == "elsewhere"
    assert namespace_of(file, "test") == "default"


def test_several_files_count_as_one_and_the_first_that_says_so_has_the_word(tmp_path: Path) -> None:
    first = written(tmp_path / "first", "prod", prod="shop")
    second = written(tmp_path / "second", "lab", lab="lab-space")
    files = os.pathsep.join(map(str, (tmp_path / "none", first, second)))
    assert namespace_of(files) == "shop"
    assert namespace_of(files, "lab") == "lab-space"
    assert connect(files).configuration.host == "https://prod:1"
    assert connect(files, "lab").configuration.host == "https://lab:1"
    written(first, "gone", prod="shop")
    with pytest.raises(ClusterRefused, match="has no context gone"):
        namespace_of(files)


def test_in_a_pod_without_a_kubeconfig_it_is_the_pod_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "namespace"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr("inference_rollouts.clients.kubeconfig.OWN_NAMESPACE", own)
    assert namespace_of(tmp_path / "none") == "default"
    own.write_text("shop\n")
    assert namespace_of(tmp_path / "none") == "shop"
    assert namespace_of(written(tmp_path / "config", "prod", prod="elsewhere")) == "elsewhere"


@pytest.mark.parametrize("text", ["", "a: b: c", "[]", "contexts: 3", "kind: Config"])
def test_what_says_nothing_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ClusterRefused, match=r"\A[^\n]*config cannot be read: [^\n]*\Z"):
        namespace_of(file)
    with pytest.raises(ClusterRefused, match="has no context other"):
        namespace_of(written(file, "prod", prod=""), "other")


def test_no_command_takes_another_namespace_than_kubectl_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setenv("KUBECONFIG", str(written(tmp_path / "config", "prod", prod="shop")))
    monkeypatch.setattr(
        "inference_rollouts.cli.cluster.KubernetesCluster", lambda _, namespace: asked.append(namespace)
    )
    for command in ("get", "watch", "restore x", "go --reason x", "stop --reason x", "versions x"):
        with pytest.raises(AttributeError):  # there is no cluster behind it
            main(command.split())
    assert asked == ["shop"] * 6
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["stop", "--reason", "x"]) == 2
    missing = f"There is no kubeconfig {tmp_path / 'none'}, so no cluster was asked.\n"
    assert capsys.readouterr().err == missing
