"""Where plans, metric sets and manifests are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients import include
from inference_rollouts.core.errors import PlanInvalid

Places = Callable[..., Path]

FOLDERS = ("rollouts", "metrics", "manifests")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Makes a package at a path, with its own files as an installed one has them."""

    def place(package: str, named: Path | None = None) -> Path:
        path = tmp_path / package / "inference_rollouts"
        fill(path / "include")
        monkeypatch.setattr(include, "PACKAGE", path)
        monkeypatch.delenv("INFERENCE_ROLLOUTS_INCLUDE", raising=False)
        if named:
            monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(named))
        return path

    return place


def fill(place: Path, *folders: str) -> Path:
    for folder in folders or FOLDERS:
        (place / folder).mkdir(parents=True)
        (place / folder / "one.yaml").touch()
    return place


def found() -> list[Path]:
    return [include.plans_folder(), include.include_folder("metrics"), include.include_folder("manifests")]


def test_an_installed_package_has_its_own(places: Places) -> None:
    own = places("site-packages") / "include"
    assert found() == [own / folder for folder in FOLDERS]


def test_what_lies_beside_an_installed_package_is_not_ours(places: Places, tmp_path: Path) -> None:
    own = places("lib/site-packages") / "include"
    fill(tmp_path / "lib" / "include")
    assert found() == [own / folder for folder in FOLDERS]


def test_include_beside_plugins_comes_before_the_package_s_own(places: Places, tmp_path: Path) -> None:
    places("home/plugins")
    beside = fill(tmp_path / "home" / "include")
    assert found() == [beside / folder for folder in FOLDERS]


def test_a_named_place_comes_first_and_what_it_lacks_is_taken_from_the_next(
    places: Places, tmp_path: Path
) -> None:
    own = places("site-packages", named=fill(tmp_path / "ours", "rollouts")) / "include"
    assert found() == [tmp_path / "ours" / "rollouts", own / "metrics", own / "manifests"]


def test_each_folder_can_be_replaced_alone(places: Places, tmp_path: Path) -> None:
    own = places("site-packages", named=fill(tmp_path / "ours", "rollouts", "metrics")) / "include"
    assert found() == [tmp_path / "ours" / "rollouts", tmp_path / "ours" / "metrics", own / "manifests"]


def test_a_named_place_without_plans_has_none_rather_than_our_examples(
    places: Places, tmp_path: Path
) -> None:
    places("site-packages", named=tmp_path / "not-mounted")
    assert include.plan_files() == []


ODD = {
    "no such date": b"description: 2026-13-45",
    "no binary number": b"description: 0b_",
    "no integer": b"description: !!int x",
    "no boolean": b"description: !!bool x",
    "no timestamp": b"description: !!timestamp x",
    "no float": b"description: !!float x",
    "a tag that runs code": b"description: !!python/object/apply:os.getcwd []",
    "an anchor in itself": b"description: &a [*a]",
    "a key that is none": b"? [a]\n: b",
    "latin-1": "description: caf\u00e9".encode("latin-1"),
    "utf-16": "description: x".encode("utf-16"),
    "a NUL": b"description: x\0",
    "a NUL in a string": b'{name: llm, description: "x\\0"}',
    "half a character": b'{name: llm, description: "\\ud800"}',
    "a bell in a key": b'{name: llm, "\\a": 1}',
    "lists in lists": b"[" * 2000,
    "mappings in mappings": b"{a: " * 3000,
    "an integer of 5,000 digits": b"initial_delay: " + b"9" * 5000,
    "nothing": b"",
    "a list": b"[]",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_whatever_a_file_holds_is_its_own_mistake_in_one_sentence(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "llm.yaml"
    path.write_bytes(text)
    with pytest.raises(PlanInvalid, match=r"^llm\.yaml: ") as caught:
        include.load_plan(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "load"),
    [
        ("metrics", lambda: include.load_metric_set("one")),
        ("calendars", lambda: include.load_blackouts("one")),
        ("manifests", include.load_manifests),
    ],
)
@pytest.mark.parametrize("text", [*ODD.values(), b"a: ["], ids=[*ODD, "no YAML"])
def test_so_is_whatever_a_file_holds_that_a_plan_names(
    places: Places, tmp_path: Path, folder: str, load: Callable[[], Iterable[Any]], text: bytes
) -> None:
    """Any other error would be tried again, as if it could pass."""
    places("site-packages", named=tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "one.yaml").write_bytes(text)
    if (folder, text) in (("calendars", b"[]"), ("manifests", b"[]"), ("manifests", b"")):
        assert not [*load()]
        return
    with pytest.raises(PlanInvalid, match=r"\A[^\n]*one\.yaml[^\n]*\Z"):
        load()


def test_a_folder_of_that_name_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "llm.yaml").mkdir()
    with pytest.raises(PlanInvalid, match="cannot be read"):
        include.load_plan(tmp_path / "llm.yaml")


def test_a_plan_that_says_no_name_has_its_file_s(tmp_path: Path) -> None:
    (path := tmp_path / "chat.yaml").write_text(
        """
kind: base-model
stable: chat
canary: chat-v2
workload: {like: stable, image: "vllm/vllm-openai:v0.32.0"}
steps: [{weight: 5, bake: 5m}, {weight: 100, bake: 5m}]
"""
    )
    assert include.load_plan(path).name == "chat"
