"""`inference-rollouts versions`: what became of which, and a person who allows one again."""

from __future__ import annotations

import pytest

from inference_rollouts.cli import main, versions
from inference_rollouts.core.versions.memory import Became
from inference_rollouts.rollout.versions import memory_target, read_memory
from tests.support.fake_cluster import FakeCluster
from tests.support.versions import fate, memory, version


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """A plan has promoted v1 and rolled v2 back."""
    cluster = FakeCluster()
    known = memory(fate("v1", Became.PROMOTED, at=60.0), fate("v2", at=120.0))
    data = {"memory": known.model_dump_json()}
    cluster.put("v1", "ConfigMap", {"metadata": {"name": memory_target("llm").name}, "data": data})
    monkeypatch.setattr(versions, "cluster_of", lambda _: cluster)
    return cluster


@pytest.mark.usefixtures("cluster")
def test_what_became_of_each_is_shown_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "llm"]) == 0
    newest, oldest = capsys.readouterr().out.splitlines()
    assert newest.startswith("1970-01-01 00:02Z  v2@sha256:")
    assert newest.endswith("rolled back  by rollout_llm/r0: the canary is worse")
    assert oldest.endswith("promoted  by rollout_llm/r0")


@pytest.mark.usefixtures("cluster")
def test_of_a_plan_without_any_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "other"]) == 0
    assert capsys.readouterr().out == "No version of plan other has been rolled out here.\n"


@pytest.mark.parametrize("named", ["v2", str(version("v2")), str(version("v2").digest)])
def test_a_person_allows_one_again_and_says_why(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    said = ["--who", "kim", "--reason", "the node was broken"]
    assert main(["versions", "llm", "--allow", named, *said]) == 0
    assert "may be rolled out again" in capsys.readouterr().out
    assert not read_memory(cluster, "llm").refused(version("v2"))
    main(["versions", "llm"])
    assert "(allowed again by kim: the node was broken)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--allow", "v2"], "--reason"),
        (["--allow", "v2", "--reason", " "], "--reason"),
        (["--allow", "v1", "--reason", "x"], "No version 'v1' is kept out by a rollback"),
    ],
)
def test_without_a_reason_or_a_rollback_nothing_is_written(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    writes = len(cluster.writes)
    assert main(["versions", "llm", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert len(cluster.writes) == writes
