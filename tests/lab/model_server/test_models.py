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


@pytest.mark.parametrize(
    ("action", "name", "path", "status"),
    [
        ("load", "there", "/adapters/sql", 400),
        ("load", "new", "/nowhere", 404),
        ("load", "new", "/adapters/large", 400),
        ("load", "new", "/adapters/foreign", 400),
        ("load", "", "/adapters/sql", 400),
        ("unload", "new", "", 404),
        ("unload", "", "", 400),
    ],
)
def test_adapters_are_refused_as_vllm_refuses_them(action: str, name: str, path: str, status: int) -> None:
    async def scenario() -> None:
        more = ("--enable-lora", "--lora-modules", "there=/adapters/sql")
        async with serving(*more, environment=ALLOWED) as server:
            body = {"lora_name": name, "lora_path": path}
            assert (await server.post(f"/v1/{action}_lora_adapter", body))[0] == status

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
            assert (await server.complete(model="large"))[0] == 404
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
