"""Warming up a new pool: every pod answers rightly, for every name of stable's, and as stable does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.serving.warm_up import Failure
from lab.model_server.faults import Faults
from tests.support.freezing import run_on
from tests.support.lab_servers import SQL, LabServers, adapters, one_replica
from tests.support.plans import CANARY, STABLE

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
TEXT = {"prompt": "The capital of France is"}
QUICK = {"prompts": ["hi"], "max_tokens": 4, "steady": 2}


@pytest.fixture
def servers() -> Iterator[LabServers]:
    with LabServers() as started:
        yield started


def warm_up(servers: LabServers, between: Any = lambda: None, **changes: Any) -> dict[str, float]:
    """What the task says of each pod after preflight of a plan; `between` happens between the two."""
    changes = {"workload": one_replica(), "analysis": {"interval": "50ms", "scrape_delay": 0}, **changes}
    changes["warm_up"] = {**QUICK, **changes.get("warm_up", {})}
    cluster = servers.cluster()
    run = run_on(cluster, servers=servers, **changes)
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    servers.place(cluster)
    between()
    return dict(run.kind.warm_up(run))


def fails(servers: LabServers, words: str, **changes: Any) -> None:
    with pytest.raises(WarmUpFailed) as caught:
        warm_up(servers, **changes)
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"no traffic was moved to {CANARY}.")
    assert "\n" not in str(caught.value)


def test_every_new_pod_that_answers_alike_passes(servers: LabServers) -> None:
    servers.start(STABLE, *SQL)
    for _ in range(2):
        servers.start(CANARY, *SQL)
    ttfts = warm_up(servers, warm_up={"golden": [{"prompt": "Say hello.", "length_drift": 1}]})
    assert set(ttfts) == {f"{CANARY}-0", f"{CANARY}-1"}


def test_an_adapter_that_a_new_pod_lacks_is_named(servers: LabServers) -> None:
    servers.start(STABLE, *SQL)
    servers.start(CANARY, *SQL)
    servers.start(CANARY)
    fails(servers, f"Pod {CANARY}-1 does not list adapter sql")


def test_a_name_that_came_to_stable_after_preflight_is_missed(servers: LabServers) -> None:
    url = servers.start(STABLE, "--enable-lora", api=True)
    servers.start(CANARY)
    words = f"Pod {CANARY}-0 does not answer for late (pod {STABLE}-0)"
    fails(servers, words, between=lambda: servers.load_adapter(url, "late", "/adapters/late"))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/adapters/sql", None),
        ("/nowhere/sql", "cannot load adapter sql from /nowhere/sql: it says 404:"),
        ("/adapters/rank-64", "rank 64 is greater than max_lora_rank 16"),
        ("/adapters/other-base", "The size of tensor a (4096) must match the size of tensor b (3584)"),
        ("/adapters/broken", f"Pod {CANARY}-0, asked for adapter sql, answered 500 instead of 200"),
    ],
)
def test_adapters_are_loaded_at_run_time(servers: LabServers, path: str, words: str | None) -> None:
    servers.start(STABLE, *SQL)
    servers.start(CANARY, "--enable-lora", api=True)
    work = one_replica(adapters=adapters(path=path), lora={"load": "api"})
    if words is None:
        warm_up(servers, workload=work)
        warm_up(servers, workload=work)  # a cleared task finds its adapter loaded
    else:
        fails(servers, words, workload=work)


@pytest.mark.parametrize("before", ["sql=/adapters/sql", "sql=/adapters/of-a-former-run"])
def test_an_adapter_that_is_loaded_already(servers: LabServers, before: str) -> None:
    servers.start(STABLE, *SQL)
    url = servers.start(CANARY, "--enable-lora", "--lora-modules", before, api=True)
    warm_up(servers, workload=one_replica(adapters=adapters(), lora={"load": "api"}))
    assert {served.name: served.path for served in servers.models(url)}["sql"] == "/adapters/sql"


def test_servers_that_load_nothing_at_run_time(servers: LabServers) -> None:
    servers.start(STABLE, *SQL)
    servers.start(CANARY, "--enable-lora")
    work = one_replica(adapters=adapters(), lora={"load": "api"})
    fails(servers, "it says 404: Not Found", workload=work)


@pytest.mark.parametrize(
    ("golden", "image", "words"),
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
def test_golden_prompts_tell_a_canary_that_answers_otherwise(
    servers: LabServers, golden: dict[str, Any], image: dict[str, Any], words: str | None
) -> None:
    servers.start(STABLE)
    servers.start(CANARY, **image)
    if words is None:
        warm_up(servers, warm_up={"golden": [golden]})
    else:
        fails(servers, words, warm_up={"golden": [golden]})


def test_a_stable_pool_that_answers_wrongly_is_nothing_to_compare_with(servers: LabServers) -> None:
    servers.start(STABLE, faults=Faults(empty=1.0))
    servers.start(CANARY)
    words = (
        f"Nothing to compare golden prompt 'The capital of France is' with: pod {STABLE}-0, as llama-3.1-8b, "
    )
    fails(servers, words, warm_up={"golden": [TEXT]})


def test_a_canary_with_unreadable_answers_is_found_without_golden_prompts(servers: LabServers) -> None:
    servers.start(STABLE)
    servers.start(CANARY, faults=Faults(garbled=1.0))
    fails(servers, f"Pod {CANARY}-0 answered with unreadable text")


PASSING = [
    Failure(0, "the stream broke off: The engine is currently busy."),
    Failure(429, "queue full"),
    Failure(500, "queue full"),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
@pytest.mark.parametrize(("failures", "passes"), [(2, True), (3, False)])
@pytest.mark.parametrize("pool", [STABLE, CANARY])
def test_a_failure_is_not_held_against_a_pod_at_once(
    servers: LabServers, failure: Failure, failures: int, passes: bool, pool: str
) -> None:
    """Pods that serve may be busy, so a failure that may pass is asked again."""
    urls = {name: servers.start(name) for name in (STABLE, CANARY)}
    servers.answers[urls[pool]] = [failure] * failures
    if passes:
        warm_up(servers, warm_up={"golden": [TEXT]})
    else:
        fails(servers, f"{failure}", warm_up={"golden": [TEXT]})


SHORT = ("--max-model-len", "4096")


def test_a_new_pod_that_takes_shorter_texts_is_refused_before_it_gets_traffic(servers: LabServers) -> None:
    servers.start(STABLE, "--max-model-len", "8192")
    servers.start(CANARY, *SHORT)
    words = "takes 4096 tokens at most, where stable takes 8192: long prompts would fail"
    fails(servers, words)


LONG = ("--max-model-len", "8192")


@pytest.mark.parametrize(
    ("stable", "accepted"),
    [(SHORT, []), (LONG, ["Clients.context-length"]), (("--max-model-len", "2048"), [])],
)
def test_texts_as_long_as_before_or_as_a_plan_accepts_are_enough(
    servers: LabServers, stable: tuple[str, ...], accepted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    servers.start(STABLE, *stable)
    servers.start(CANARY, *SHORT)
    with caplog.at_level("INFO"):
        warm_up(servers, accept_differences=accepted)
    assert "servers of version " in caplog.text
    assert "unknown" not in caplog.text


KEYED = ("--api-key", "sesame")
OPENED = "answers without the API key that stable wants"
CLOSED = "wants an API key, which stable does not: clients that send none would be refused"


@pytest.mark.parametrize(("stable", "canary", "words"), [((), KEYED, CLOSED), (KEYED, (), OPENED)])
def test_a_new_pod_wants_a_key_of_clients_if_stable_does(
    servers: LabServers, stable: tuple[str, ...], canary: tuple[str, ...], words: str
) -> None:
    """Whatever the key comes from; ours opens both. Servers count nobody whom they refuse so."""
    servers.key = "sesame"
    servers.start(STABLE, *stable)
    servers.start(CANARY, *canary)
    fails(servers, words)
    warm_up(servers, accept_differences=["Clients.api-key"])


def test_servers_that_all_want_the_key_are_alike(servers: LabServers) -> None:
    servers.key = "sesame"
    servers.start(STABLE, *KEYED)
    servers.start(CANARY, *KEYED)
    warm_up(servers)
