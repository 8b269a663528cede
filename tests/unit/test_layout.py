"""How the tests lie: beside what they test, each alone, and with Airflow only where it runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.plans import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(path for path in TESTS.rglob("*.py") if path.name != "__init__.py")
LONGEST = 400  # lines
CLOCKS = {"time.time", "time.monotonic", "datetime.now", "datetime.datetime.now"}
WITHOUT_AIRFLOW = ("unit", "property", "integration")


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports anywhere, absolute."""
    package = path.relative_to(ROOT).parent.parts
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            imported |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return imported


def test_no_test_module_imports_another() -> None:
    """What they share is in tests/support."""
    for path in MODULES:
        leaves = {name.rpartition(".")[2] for name in imports_of(path) if name.startswith("tests.")}
        assert not {leaf for leaf in leaves if leaf.startswith("test_") or leaf == "conftest"}, path


def test_every_module_has_one_subject() -> None:
    long = {path for path in MODULES if len(path.read_text().splitlines()) > LONGEST}
    assert long == set()


def test_what_needs_no_airflow_imports_none() -> None:
    for path in MODULES:
        if path.relative_to(TESTS).parts[0] in WITHOUT_AIRFLOW:
            imports = imports_of(path)
            assert "airflow" not in {name.partition(".")[0] for name in imports}, path
            assert "tests.support.airflow" not in imports, path


def calls_at_import(node: ast.AST) -> Iterator[str]:
    """What a module calls when it is imported: not what its functions will, but their defaults."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        late = node.body if isinstance(node.body, list) else [node.body]
        children = [each for each in ast.iter_child_nodes(node) if each not in late]
    else:
        children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        yield ast.unparse(node.func)
    for child in children:
        yield from calls_at_import(child)


def test_no_test_module_looks_at_the_clock_when_it_is_imported() -> None:
    """All are imported first: by the time that the last test runs, such a now is long past."""
    for path in MODULES:
        clocks = set(calls_at_import(ast.parse(path.read_text()))) & CLOCKS
        assert not clocks, f"{path} calls {clocks}"


def test_no_example_fails_because_the_machine_is_busy() -> None:
    """Of itself Hypothesis gives each 200 ms."""
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize("side", ["unit", "airflow"])
def test_tests_lie_beside_what_they_test(side: str) -> None:
    package = ROOT / "plugins" / "inference_rollouts"
    rooms = {path.parent.relative_to(TESTS / side).as_posix() for path in (TESTS / side).rglob("test_*.py")}
    elsewhere = {"bench", "pipeline"}  # the benchmark of the judge, and whole runs
    assert {room for room in rooms - elsewhere if not (package / room).is_dir()} == set()
