"""Adapters and golden prompts: what clients can ask for today, new pods must answer, and answer alike."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml

from inference_rollouts.clients import model_server
from inference_rollouts.core.errors import ClusterRefused, PlanInvalid, WarmUpFailed
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.serving.adapters import Adapter
from inference_rollouts.operators.adapter import compare
from inference_rollouts.operators.warm_up import WarmUp
from tests.support.routes import rewrite

from . import ROOT
from tests.support.fake_cluster import FakeCluster
from tests.support.model_servers import BASE, ModelServers
from .test_preflight import plan, preflight, refused

STABLE, CANARY = "llm-pool", "llm-pool-version-2"
SQL = ["--enable-lora", "--lora-modules", "sql=/adapters/sql"]


@pytest.fixture
def servers(monkeypatch):
    started = ModelServers()
    monkeypatch.setattr("inference_rollouts.rollout.adapters.servers", started.of)
    monkeypatch.setattr("inference_rollouts.rollout.serving.models", model_server.models)
    yield started
    started.stop()


def small():
    """A cluster whose stable pool has one pod, so that one new pod has room for its requests."""
    cluster = FakeCluster()
    cluster.scale(STABLE, 1)
    return cluster


def work(**changes):
    return plan()["workload"] | {"replicas": 1} | changes


def adapters(name="sql", path="/adapters/sql", **more):
    return [{"name": name, "path": path, **more}]


# Preflight


def test_what_any_stable_pod_answers_for_is_taken_over(servers):
    servers.start(STABLE)
    servers.start(STABLE, *SQL)
    frozen = preflight(FakeCluster())
    assert frozen.pool_plan.workload.adapters == (Adapter(name="sql", path="/adapters/sql"),)
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-3:] == ["--enable-lora", "--lora-modules", "sql=/adapters/sql"]
    assert container["env"] == []


def test_adapters_loaded_at_run_time_are_allowed_by_the_environment(servers):
    servers.start(STABLE, *SQL)
    frozen = preflight(small(), workload=work(adapters=adapters(), lora={"load": "api"}))
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-1] == "--enable-lora"
    assert container["env"] == [{"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "true"}]


def test_a_missing_adapter_is_named(servers):
    servers.start(STABLE)
    servers.start(STABLE, *SQL)
    said = "Clients can name sql (pod llm-pool-1) today, but llm-pool-version-2 would not answer for it"
    refused(PlanInvalid, said, workload=work(adapters=adapters("code", "/adapters/code")))


def test_a_missing_name_of_the_model_is_named(servers):
    servers.start(STABLE, names=("llama-3.1-8b", "llama"))
    refused(PlanInvalid, "llama (pod llm-pool-0)")


def test_a_target_of_a_rewrite_that_no_pod_lists_is_named(servers):
    """A lazily resolved adapter is listed only after its first request."""
    servers.start(STABLE)
    cluster = small()
    cluster.served.add(("llm-d.ai/v1alpha2", "InferenceModelRewrite"))
    cluster.put("llm-d.ai/v1alpha2", "InferenceModelRewrite", rewrite("food-review", "food-review-1"))
    refused(PlanInvalid, "food-review-1 (InferenceModelRewrite food-review)", cluster)
    listed = adapters("food-review-1", "/adapters/food-review-1")
    frozen = preflight(cluster, workload=work(adapters=listed))
    assert [m["kind"] for m in frozen.manifests].count("InferenceModelRewrite") == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"r": 8}, None),
        ({"r": 64}, "Adapter sql has rank 64, the servers take up to 16"),
        ({"base_model_name_or_path": "mistralai/Mistral-7B"}, "was trained for mistralai/Mistral-7B"),
        ({"target_modules": ["router"]}, "changes the modules router"),
    ],
)
def test_a_config_is_checked_before_anything_is_created(servers, tmp_path, config, said):
    servers.start(STABLE, *SQL)
    path = tmp_path / "adapter_config.json"
    fits = {"r": 8, "base_model_name_or_path": BASE, "target_modules": ["q_proj", "v_proj"]}
    path.write_text(json.dumps(fits | config))
    given = work(adapters=adapters(config=f"file://{path}"))
    if said is None:
        preflight(small(), workload=given)
    else:
        refused(PlanInvalid, said, workload=given)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_config_that_cannot_be_read_is_named(servers, tmp_path, text):
    servers.start(STABLE, *SQL)
    path = tmp_path / "adapter_config.json"
    if text is not None:
        path.write_text(text)
    refused(PlanInvalid, str(path), workload=work(adapters=adapters(config=str(path))))


# Warm-up


def warm_up(monkeypatch, **changes):
    """Runs the task as after preflight of a plan; returns what it says of each pod."""
    cluster = small()
    monkeypatch.setattr("inference_rollouts.operators.warm_up.cluster_of", lambda _: cluster)
    changes = {"workload": work(), **changes}
    changes["warm_up"] = {"prompts": ["hi"], "max_tokens": 4, "steady": 2} | changes.get("warm_up", {})
    frozen = preflight(cluster, **changes).to_json()
    ti = SimpleNamespace(xcom_pull=lambda task_ids: frozen, xcom_push=lambda **_: None)
    return WarmUp(task_id="warm_up").execute({"ti": ti})


def fails(monkeypatch, said, **changes):
    with pytest.raises(WarmUpFailed) as caught:
        warm_up(monkeypatch, **changes)
    assert said in str(caught.value)
    assert str(caught.value).endswith(f"no traffic was moved to {CANARY}.")
    assert "\n" not in str(caught.value)


def test_every_new_pod_that_answers_alike_passes(servers, monkeypatch):
    servers.start(STABLE, *SQL)
    for _ in range(2):
        servers.start(CANARY, *SQL)
    found = warm_up(monkeypatch, warm_up={"golden": [{"prompt": "Say hello.", "length_drift": 1}]})
    assert set(found) == {f"{CANARY}-0", f"{CANARY}-1"}


def test_an_adapter_that_a_new_pod_lacks_is_named(servers, monkeypatch):
    servers.start(STABLE, *SQL)
    servers.start(CANARY, *SQL)
    servers.start(CANARY)
    fails(monkeypatch, f"Pod {CANARY}-1 does not list adapter sql")


def test_a_name_that_came_to_stable_after_preflight_is_missed(servers, monkeypatch):
    servers.start(STABLE)
    servers.start(CANARY)
    real = model_server.models

    def more(url):
        late = [model_server.Served("late", "/adapters/late", "llama-3.1-8b")]
        return real(url) + (late if url in servers.pools[STABLE].values() and frozen else [])

    frozen = []
    monkeypatch.setattr("inference_rollouts.rollout.serving.models", more)
    monkeypatch.setattr("inference_rollouts.operators.warm_up.warm_all", lambda *_: frozen.append(1))
    fails(monkeypatch, f"Pod {CANARY}-0 does not answer for late (pod {STABLE}-0)")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/adapters/sql", None),
        ("/nowhere/sql", "cannot load adapter sql from /nowhere/sql: it says 404:"),
        ("/adapters/rank-64", "rank 64 is greater than max_lora_rank 16"),
        ("/adapters/other-base", "was made for mistralai/Mistral-7B-Instruct-v0.3"),
        ("/adapters/broken", f"Pod {CANARY}-0, asked for adapter sql, answered 500 instead of 200"),
    ],
)
def test_adapters_are_loaded_at_run_time(servers, monkeypatch, path, said):
    servers.start(STABLE, *SQL)
    servers.start(CANARY, "--enable-lora", api=True)
    changes = {"workload": work(adapters=adapters(path=path), lora={"load": "api"})}
    if said is None:
        warm_up(monkeypatch, **changes)
        warm_up(monkeypatch, **changes)  # a cleared task finds its adapter loaded
    else:
        fails(monkeypatch, said, **changes)


@pytest.mark.parametrize("before", ["sql=/adapters/sql", "sql=/adapters/of-a-former-run"])
def test_an_adapter_that_is_loaded_already(servers, monkeypatch, before):
    servers.start(STABLE, *SQL)
    url = servers.start(CANARY, "--enable-lora", "--lora-modules", before, api=True)
    warm_up(monkeypatch, workload=work(adapters=adapters(), lora={"load": "api"}))
    assert {served.name: served.path for served in model_server.models(url)}["sql"] == "/adapters/sql"


def test_servers_that_load_nothing_at_run_time(servers, monkeypatch):
    servers.start(STABLE, *SQL)
    servers.start(CANARY, "--enable-lora")
    changes = {"workload": work(adapters=adapters(), lora={"load": "api"})}
    fails(monkeypatch, "it says 404: Not Found", **changes)


CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
TEXT = {"prompt": "The capital of France is"}


@pytest.mark.parametrize(
    ("golden", "image", "said"),
    [
        (CHAT, {"chat_prefix": "You are helpful. "}, "the tokenizer or the chat template is another"),
        (TEXT, {"chat_prefix": "You are helpful. "}, None),
        (
            TEXT,
            {"characters_per_token": 3.2},
            "golden prompt 'The capital of France is': it counted 8 tokens",
        ),
        (TEXT | {"prompt_tokens_drift": 0.5}, {"characters_per_token": 3.2}, None),
        (TEXT | {"format": "json"}, {}, "which is not JSON"),
        (TEXT | {"pattern": "Paris"}, {}, "which does not match 'Paris'"),
        (TEXT | {"finish_reasons": ["stop"], "max_tokens": 1}, {}, "finished with reason 'length'"),
        (TEXT | {"length_drift": 1.1, "max_tokens": 200}, {"answer_tokens": 10}, "where stable answers with"),
        (CHAT, {}, None),
    ],
)
def test_golden_prompts_tell_a_canary_that_answers_otherwise(servers, monkeypatch, golden, image, said):
    servers.start(STABLE)
    servers.start(CANARY, **image)
    changes = {"warm_up": {"golden": [golden]}}
    if said is None:
        warm_up(monkeypatch, **changes)
    else:
        fails(monkeypatch, said, **changes)


def test_a_stable_pool_that_answers_wrongly_is_nothing_to_compare_with(servers, monkeypatch):
    from lab.model_server.faults import Faults

    servers.start(STABLE, faults=Faults(empty=1.0))
    servers.start(CANARY)
    said = (
        f"Nothing to compare golden prompt 'The capital of France is' with: pod {STABLE}-0, as llama-3.1-8b, "
    )
    fails(monkeypatch, said, warm_up={"golden": [TEXT]})


@pytest.mark.parametrize(("pattern", "said"), [(None, None), ("Paris", "which does not match 'Paris'")])
def test_adapters_are_compared_by_golden_prompts_too(servers, pattern, said):
    value = yaml.safe_load((ROOT / "include/rollouts/food-review.yaml").read_text())
    value |= {"warm_up": {"golden": [TEXT | {"pattern": pattern}]}}
    modules = [f"{value[side]}=/adapters/{value[side]}" for side in ("stable", "canary")]
    for _ in range(2):
        servers.start(value["pool"], "--enable-lora", "--lora-modules", *modules)
    args = (servers.pools[value["pool"]], parse_plan(value))
    if said is None:
        compare(*args)
    else:
        with pytest.raises(WarmUpFailed, match=said):
            compare(*args)


def test_a_canary_with_unreadable_answers_is_found_without_golden_prompts(servers, monkeypatch):
    from lab.model_server.faults import Faults

    servers.start(STABLE)
    servers.start(CANARY, faults=Faults(garbled=1.0))
    fails(monkeypatch, f"Pod {CANARY}-0 answered with unreadable text")


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize(("failures", "passes"), [(2, True), (3, False)])
def test_a_failure_is_not_held_against_a_pod_at_once(servers, monkeypatch, status, failures, passes):
    """Stable's pods have clients, so a failure that may pass is asked again."""
    servers.start(STABLE)
    servers.start(CANARY)
    answers = [model_server.Answer(status, None, 0.0, "queue full")] * failures
    real = model_server.complete
    monkeypatch.setattr(
        "inference_rollouts.rollout.serving.complete",
        lambda *asked: answers.pop() if answers else real(*asked),
    )
    changes = {"warm_up": {"golden": [TEXT]}}
    if passes:
        warm_up(monkeypatch, **changes)
    else:
        fails(monkeypatch, f"answered {status} instead of 200 (queue full)", **changes)


def test_a_pod_that_lists_nothing_is_named(servers, monkeypatch):
    def closed(url):
        raise model_server.ServerRefused(401, "Unauthorized")

    servers.start(STABLE)
    monkeypatch.setattr("inference_rollouts.rollout.serving.models", closed)
    refused(
        ClusterRefused, "Pod llm-pool-0 does not list what it answers for: /v1/models is 401: Unauthorized"
    )
