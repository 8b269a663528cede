"""Check that imports go one way.

core <- clients <- rollout <- hooks, preflight <- triggers <- operators <- dag <- dags.

The lab and the pipeline never import each other. `python -m tests.imports` prints every violation and
exits with status 1 if there is one.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "inference_rollouts"
RANKS = {
    "core": 0,
    "clients": 1,
    "rollout": 2,
    "hooks": 3,
    "preflight": 3,
    "triggers": 4,
    "operators": 5,
    "dag": 6,
}
TOP = 7
CORE_MAY_IMPORT = sys.stdlib_module_names | {"pydantic", "numpy"}
PIPELINE_ROOTS = ("plugins", "dags")


def violations(root: Path) -> Iterator[str]:
    """One sentence for each forbidden import below the checkout `root`."""
    for folder in (*PIPELINE_ROOTS, "lab"):
        base = root / folder
        for file in sorted(base.rglob("*.py")):
            module = ".".join(file.relative_to(base if folder != "lab" else root).with_suffix("").parts)
            for line, imported in _imports(file, module):
                if reason := _forbidden(folder, module, imported):
                    yield f"{file.relative_to(root)}:{line}: imports {imported}: {reason}"


def _forbidden(folder: str, module: str, imported: str) -> str | None:
    top = imported.split(".")[0]
    if folder == "lab":
        return "the lab knows nothing of the pipeline" if top in (PACKAGE, "airflow") else None
    if top in ("lab", "tests"):
        return "the pipeline knows nothing of the lab"
    return _layer_violation(module, imported)


def _layer_violation(module: str, imported: str) -> str | None:
    importer, target = _layer(module), _layer(imported)
    if importer == "core" and target is None and imported.split(".")[0] not in CORE_MAY_IMPORT:
        return "core imports only the standard library, pydantic and numpy"
    if importer and target and RANKS.get(target, TOP) > RANKS.get(importer, TOP):
        return f"{importer} comes before {target}"
    return None


def _layer(module: str) -> str | None:
    """The layer a module of the package is in, its own name if in none; None outside the package."""
    package, _, rest = module.partition(".")
    return rest.split(".")[0] or None if package == PACKAGE else None


def _imports(file: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a file imports, wherever in it."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = [*above, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*source, alias.name])) for alias in node.names)


def main() -> int:
    """Print the violations of this checkout; 1 if there are any."""
    found = list(violations(Path(__file__).resolve().parent.parent))
    print("\n".join(found) or "imports: one way, as they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
