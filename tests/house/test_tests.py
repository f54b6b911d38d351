"""What the tests themselves must keep to."""

from __future__ import annotations

import ast

from tests.support.lines import counted
from tests.support.source import TESTS, dotted, modules


def test_no_test_sleeps() -> None:
    """A test waits for what it waits for, never for a while. Helpers in tests/support may poll another process."""
    found = [
        f"{module.path}:{node.lineno}"
        for module in modules(TESTS)
        if not module.path.startswith("tests/support/")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and dotted(node.func).rpartition(".")[2] == "sleep"
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert found == []


def test_no_test_is_skipped() -> None:
    """A tool that is missing is a failure: nothing skips, nothing is expected to fail."""
    banned = ("pytest.skip", "pytest.importorskip", "pytest.xfail", "pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")
    found = [
        f"{module.path}:{node.lineno} {name}"
        for module in modules(TESTS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and (name := dotted(node)) in banned
    ]
    assert found == []


def test_every_test_asserts_something() -> None:
    """A test without an assertion, an expected error or a helper that checks cannot fail for the right reason."""

    def checks(node: ast.AST) -> bool:
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        name = dotted(node.func) if isinstance(node, ast.Call) else ""
        last = name.rpartition(".")[2]
        return name in ("pytest.raises", "pytest.warns", "pytest.fail") or last.startswith(
            ("assert", "check", "expect", "play", "_check")
        )

    empty = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in modules(TESTS)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any(checks(inner) for inner in ast.walk(node))
    ]
    assert empty == []


def test_there_is_more_test_than_code() -> None:
    """At least a line of test to a line of code."""
    code, tests = counted()
    assert tests >= code, f"{code} lines of code, {tests} of tests"
