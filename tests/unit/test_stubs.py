# SPDX-License-Identifier: MIT
"""The types in _core.pyi are those of the extension, and so is its text."""

import ast
import importlib.resources
import inspect
import subprocess
import sys
from collections.abc import Iterator

import greenloop
import pytest
from greenloop import _core

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def stub() -> ast.Module:
    path = importlib.resources.files(greenloop) / "_core.pyi"
    return ast.parse(path.read_text("utf-8"))


def definitions(
    node: Documented, prefix: str = ""
) -> Iterator[tuple[str, Documented]]:
    """Every class and function of the stub, by its dotted name."""
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)):
            name = prefix + child.name
            yield name, child
            yield from definitions(child, name + ".")


def runtime(name: str) -> object:
    found: object = _core
    for part in name.split("."):
        found = getattr(found, part)
    return found


def words(text: str | None) -> list[str]:
    """The text without its line breaks, which differ by the indentation."""
    return (text or "").split()


DEFINITIONS = dict(definitions(stub()))
DOCUMENTED = [
    name for name in DEFINITIONS if not name.split(".")[-1].startswith("__")
]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings_are_those_of_the_c_code(name: str) -> None:
    theirs = words(inspect.getdoc(runtime(name)))
    assert theirs, f"{name} has no docstring"
    assert words(ast.get_docstring(DEFINITIONS[name])) == theirs


def test_everything_public_is_in_the_stub() -> None:
    public = {name for name in vars(_core) if not name.startswith("_")}
    assert public <= set(DEFINITIONS)
    methods = {
        f"Engine.{name}"
        for name in vars(_core.Engine)
        if not name.startswith("_")
    }
    assert methods <= set(DEFINITIONS)


def test_stubtest() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "greenloop._core"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
