"""Adapters: loaded, served, refused and unloaded as vLLM does it."""

from __future__ import annotations

import pytest

from tests.support.lab.model_server import run, serving

LOADED = "Success: LoRA adapter 'sql' added successfully."

ALLOWED = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}


def test_adapters_are_loaded_served_and_unloaded() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora", environment=ALLOWED) as server:
            load = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            assert (await server.complete(model="sql"))[0] == 404
            assert await server.post("/v1/load_lora_adapter", load) == (200, LOADED)
            _, models = await server.get("/v1/models")
            assert [(card["id"], card["parent"]) for card in models["data"]][-1] == ("sql", "llama")
            status, body = await server.complete(model="sql")
            assert (status, body["model"]) == (200, "sql")
            assert (await server.post("/v1/unload_lora_adapter", {"lora_name": "sql"}))[0] == 200
            assert (await server.complete(model="sql"))[0] == 404

    run(scenario)


WORKER = "Call to add_lora method failed: Worker failed with error '"
DUPLICATE = "The lora adapter 'there' has already been loaded. If you want to load the adapter in place, set"


@pytest.mark.parametrize(
    ("action", "name", "path", "status", "words"),
    [
        ("load", "there", "/adapters/sql", 400, DUPLICATE),
        (
            "load",
            "llama",
            "/adapters/sql",
            400,
            "The lora adapter 'llama' conflicts with a served base model.",
        ),
        ("load", "new", "/nowhere", 404, "Loading lora new failed: No adapter found for /nowhere"),
        ("load", "new", "/adapters/large", 500, f"{WORKER}LoRA rank 64 is greater than max_lora_rank 16.'"),
        ("load", "new", "/adapters/foreign", 500, f"{WORKER}The size of tensor a (4096) must match the size"),
        (
            "load",
            "new",
            "/adapters/strange",
            500,
            f"{WORKER}While loading /adapters/strange, expected target",
        ),
        ("load", "new", "/adapters/dora", 500, f"{WORKER}vLLM does not yet support DoRA.'"),
        ("load", "new", "/adapters/bare", 500, f"{WORKER}/adapters/bare doesn't contain tensors'"),
        ("load", "", "/adapters/sql", 400, "Both 'lora_name' and 'lora_path' must be provided."),
        ("unload", "new", "", 404, "The lora adapter 'new' cannot be found."),
        ("unload", "", "", 400, "'lora_name' needs to be provided to unload a LoRA adapter."),
    ],
)
def test_adapters_are_refused_as_vllm_refuses_them(
    action: str, name: str, path: str, status: int, words: str
) -> None:
    async def scenario() -> None:
        more = ("--enable-lora", "--lora-modules", "there=/adapters/sql")
        async with serving(*more, environment=ALLOWED) as server:
            body = {"lora_name": name, "lora_path": path}
            answered, error = await server.post(f"/v1/{action}_lora_adapter", body)
            assert (answered, error["error"]["code"]) == (status, status)
            assert error["error"]["message"].startswith(words)

    run(scenario)


def test_an_adapter_for_another_base_of_the_same_width_is_loaded() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora", environment=ALLOWED) as server:
            load = {"lora_name": "cousin", "lora_path": "/adapters/cousin"}
            assert (await server.post("/v1/load_lora_adapter", load))[0] == 200
            assert (await server.complete(model="cousin"))[0] == 200

    run(scenario)


def test_an_adapter_is_loaded_again_in_place() -> None:
    async def scenario() -> None:
        more = ("--enable-lora", "--lora-modules", "there=/adapters/sql")
        async with serving(*more, environment=ALLOWED) as server:
            load = {"lora_name": "there", "lora_path": "/adapters/cousin", "load_inplace": True}
            assert (await server.post("/v1/load_lora_adapter", load))[0] == 200
            _, models = await server.get("/v1/models")
            assert models["data"][-1]["root"] == "/adapters/cousin"

    run(scenario)


def test_servers_without_adapters_load_none() -> None:
    async def scenario() -> None:
        async with serving(environment=ALLOWED) as server:
            load = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            status, error = await server.post("/v1/load_lora_adapter", load)
            assert (status, "LoRA is not enabled" in error["error"]["message"]) == (500, True)

    run(scenario)


def test_adapters_cannot_be_loaded_without_permission() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora") as server:
            body = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            assert await server.post("/v1/load_lora_adapter", body) == (404, {"detail": "Not Found"})

    run(scenario)


def test_a_resolver_loads_an_adapter_when_it_is_first_asked_for() -> None:
    resolver = {"VLLM_PLUGINS": "lora_filesystem_resolver", "VLLM_LORA_RESOLVER_CACHE_DIR": "/adapters"}

    async def scenario() -> None:
        async with serving("--enable-lora", environment=ALLOWED | resolver) as server:
            _, before = await server.get("/v1/models")
            assert (await server.complete(model="sql"))[0] == 200
            status, error = await server.complete(model="large")
            assert (status, error["error"]["message"]) == (
                400,
                "LoRA adapter 'large' was found but could not be loaded.",
            )
            for not_ours in ("cousin", "nothing"):
                assert (await server.complete(model=not_ours))[0] == 404
            _, after = await server.get("/v1/models")
            assert [card["id"] for card in after["data"][len(before["data"]) :]] == ["sql"]
        async with serving("--enable-lora", environment=resolver) as server:
            assert (await server.complete(model="sql"))[0] == 404

    run(scenario)


def test_an_adapter_may_be_broken_while_its_base_is_not() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora", "--lora-modules=bad=/adapters/broken") as server:
            assert (await server.complete(model="bad"))[0] == 500
            assert (await server.complete())[0] == 200

    run(scenario)
