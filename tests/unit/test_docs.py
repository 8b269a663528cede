"""What the documents name exists: files, headings, commands, modules. Tables are whole, and plans valid."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from inference_rollouts.cli import COMMANDS
from inference_rollouts.core.plan.plan import parse_plan
from tests.support.plans import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("lab/*/*.md")]
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def code_of(page: Path) -> str:
    return "\n".join(CODE.findall(page.read_text()))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@every_page
def test_tables_are_whole(page: Path) -> None:
    """A row after an empty line is no row of a table, but a line of text with bars."""
    lines = page.read_text().splitlines()
    for number, (before, line) in enumerate(pairwise(lines), 2):
        if line.startswith("|") and not before.startswith("|"):
            assert re.fullmatch(r"\|[-: |]+\|", lines[number]), f"line {number}: {line}"


@every_page
def test_commands_and_modules_exist(page: Path) -> None:
    code = code_of(page)
    commands = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert {*re.findall(r"(?<![\w/])inference-rollouts ([a-z]+)", code)} <= commands
    targets = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
    assert {*re.findall(r"\bmake ([a-z][a-z-]+)", code)} <= targets
    for module in re.findall(r"python -m ((?:lab|bench|tests)[\w.]*)", code):
        place = ROOT / module.replace(".", "/")
        assert (place / "__main__.py").exists() or place.with_suffix(".py").exists(), module


@every_page
def test_parts_of_plans_are_valid_in_an_example(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        part = yaml.safe_load(block)
        name = {"lora": "food-review", "node": "llm-nodes"}.get(part.get("kind"), "llm")
        example = yaml.safe_load((ROOT / f"include/rollouts/{name}.yaml").read_text())
        if "steps" in part:  # a whole plan
            parse_plan({"name": name} | part)
            continue
        work = {"workload": example["workload"] | part["workload"]} if "workload" in part else {}
        parse_plan(example | part | work)


def test_every_command_is_in_the_table_of_the_command_line() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    _, section = page.split("## The command line\n")
    table = section.partition("\n## ")[0]
    names = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert {*re.findall(r"`([a-z]+)", table)} & names == names
