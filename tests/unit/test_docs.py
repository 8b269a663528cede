"""What the documents name exists: files, headings, commands, modules; and their tables are whole."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from inference_rollouts.cli import COMMANDS
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


def test_every_command_is_in_the_table_of_the_command_line() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    _, section = page.split("## The command line\n")
    table = section.partition("\n## ")[0]
    names = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert {*re.findall(r"`([a-z]+)", table)} & names == names
