"""What tests share stands in fixtures and plain modules: no test module or conftest is imported."""

import ast

from tests.repository import REPOSITORY

TESTS = REPOSITORY / "tests"
MODULES = sorted([*TESTS.rglob("*.py"), *(REPOSITORY / "benchmarks").rglob("*.py")])


def imported_modules(source: str) -> set[str]:
    """Full names of the modules that a source imports, in both readings of `from package import name`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_collected(name: str) -> bool:
    """Whether pytest collects a module by itself."""
    root, *parts = name.split(".")
    return root == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts)


def test_no_test_module_is_imported_by_another_one() -> None:
    found: dict[str, set[str]] = {}
    for path in MODULES:
        if collected := {name for name in imported_modules(path.read_text()) if is_collected(name)}:
            found[str(path.relative_to(REPOSITORY))] = collected
    assert found == {}, "move what is shared into a module of its own"


def test_an_import_from_a_test_module_is_found() -> None:
    assert is_collected("tests.unit.test_shared_test_code.is_collected")
    assert imported_modules("from tests.integration import conftest") >= {"tests.integration.conftest"}
    assert not is_collected("tests.integration.ledger_rows.LedgerRows")
