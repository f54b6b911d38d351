"""``python -m tests.support.lines``: how many lines of tests there are to a line of code."""

from __future__ import annotations

import sys

from tests.support.source import PACKAGE, TESTS, modules


def counted() -> tuple[int, int]:
    """Lines of the package and lines of the tests."""
    code, tests = (sum(module.text.count("\n") for module in modules(folder)) for folder in (PACKAGE, TESTS))
    return code, tests


if __name__ == "__main__":
    code, tests = counted()
    sys.stdout.write(f"{code} lines of code, {tests} of tests: {tests / code:.2f} to one\n")
