"""The import arrows of the house: tests → fixtures → provisioning → harness ← emulator.

Read from the syntax tree, so that imports inside functions and for type checkers count, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "harness": {"harness"},
    "emulator": {"emulator", "harness"},
    "provisioning": {"provisioning", "harness"},
    "fixtures": {"fixtures", "provisioning", "harness"},
}


def wrong_imports(house: Path) -> Iterator[str]:
    """Each import that goes against the arrows, as ``file:line imports module``."""
    for room, allowed in MAY_IMPORT.items():
        for file in sorted((house / room).rglob("*.py")):
            name = file.relative_to(house).as_posix()
            tree = ast.parse(file.read_text())
            root = name == "harness/targets.py"
            lazy = inside_functions(tree) if root else set()
            for node in ast.walk(tree):
                for module in imported(node):
                    top = module.partition(".")[0]
                    composed = root and top == "emulator" and node in lazy
                    if top in {*MAY_IMPORT, "tests"} - allowed and not composed:
                        yield f"{name}:{node.lineno} imports {module}"  # type: ignore[attr-defined]


def inside_functions(tree: ast.AST) -> set[ast.AST]:
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return {inner for function in functions for inner in ast.walk(function)}


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module or ""]
    return []


def test_no_import_goes_against_the_arrows() -> None:
    assert list(wrong_imports(HOUSE)) == []


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("harness/ssh.py", "import provisioning.keys\n", "1 imports provisioning.keys"),
        ("harness/ssh.py", "def f():\n  from emulator import rig\n", "2 imports emulator"),
        ("harness/targets.py", "import emulator\n", "1 imports emulator"),
        ("emulator/a/b.py", "from fixtures import plugin\n", "1 imports fixtures"),
        ("provisioning/run.py", "import tests\n", "1 imports tests"),
    ],
    ids=["upwards", "in a function", "root, at import", "sideways", "tests"],
)
def test_an_import_against_the_arrows_is_found(
    tmp_path: Path, file: str, text: str, found: str
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)

    assert list(wrong_imports(tmp_path)) == [f"{file}:{found}"]


def test_the_composition_root_may_import_the_emulator_in_a_function(tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness/targets.py").write_text("def f():\n  import emulator.opening\n")

    assert list(wrong_imports(tmp_path)) == []
