"""The house keeps its direction: each module is named in the import contracts, and the contracts look at all of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
LAYERS = {name.strip() for layer in CONTRACTS[0]["layers"] for name in layer.split("|")}


def test_every_module_of_the_roof_and_floor_has_its_layer() -> None:
    modules = {f"toc.{path.stem}" for path in (ROOT / "toc").iterdir() if path.name not in ("__init__.py", "py.typed")}
    modules.discard("toc.__pycache__")
    assert modules == {name for name in LAYERS if name.startswith("toc.")}


def test_every_pure_module_exists() -> None:
    for name in CONTRACTS[1]["source_modules"]:
        assert (ROOT / (name.replace(".", "/") + ".py")).is_file(), name


def test_the_contracts_hold_and_look_at_everything() -> None:
    done = subprocess.run(
        check=False, args=[Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    files = int(re.search(r"Analyzed (\d+) files", done.stdout).group(1))
    ours = sum(len(list((ROOT / package).rglob("*.py"))) for package in ("toc", "rewriter", "redirector", "reputation"))
    assert files >= ours - 5


def test_the_package_itself_imports_nothing() -> None:
    assert (ROOT / "toc" / "__init__.py").read_text() == ""


def test_sizes_stay_readable() -> None:
    """Modules up to 400 lines, functions up to 60; migrations are lists and exempt."""
    for package in ("toc", "rewriter", "redirector", "reputation"):
        for path in (ROOT / package).rglob("*.py"):
            if "migrations" in path.parts:
                continue
            text = path.read_text()
            assert text.count("\n") <= 400, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    assert node.end_lineno - node.lineno < 60, f"{path}: {node.name}"
