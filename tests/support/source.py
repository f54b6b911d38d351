"""The project's own files, as the house tests read them: what is committed, and the package's syntax trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vproc"
TESTS = ROOT / "tests"


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file. ``name`` is dotted; ``path`` is relative to the root, with slashes."""

    name: str
    path: str
    text: str
    tree: ast.Module

    def calls(self) -> Iterator[tuple[str, int]]:
        """Dotted name and line of every call whose callee is a plain dotted name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and (name := dotted(node.func)):
                yield name, node.lineno

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every name that is imported, anywhere in the file, in full: ``from a.b import c`` gives ``a.b.c``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@cache
def modules(folder: Path = PACKAGE) -> tuple[Module, ...]:
    """Every Python file under a folder of the project."""
    found = []
    for file in sorted(folder.rglob("*.py")):
        if "node_modules" in file.parts:
            continue
        text = file.read_text()
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, file.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    assert found, f"no Python files under {folder}"
    return tuple(found)


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a plain dotted name; an empty string for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def names_module(name: str, known: frozenset[str] | set[str]) -> str | None:
    """The module that an imported name lies in: the name itself, or what stands before its last dot."""
    if name in known:
        return name
    parent = name.rpartition(".")[0]
    return parent if parent in known else None


@cache
def committed() -> tuple[Path, ...]:
    """Every file that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return tuple(file for file in files if file.is_file())


def text_of(file: Path) -> str | None:
    """A committed file's text; None where it is not text."""
    try:
        return file.read_text()
    except UnicodeDecodeError:
        return None
