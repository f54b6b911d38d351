"""The house's bounds and the import rules that import-linter cannot say."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest

from tests.support.source import Module, dotted, modules, names_module

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60

# A file is a noun that a stranger would look for; these say nothing.
EMPTY_NAMES = {
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "base",
    "manager",
    "managers",
    "misc",
    "tools",
    "shared",
    "lib",
    "core_utils",
}

# Third parties that ask nobody for anything: `core` may know them.
ONLY_COMPUTE = {"pydantic", "standardwebhooks"}

# Starting another program: only here, each for its reason.
PROCESS_FILES = {
    "vproc/workers/process.py": "starts, watches and ends ffmpeg and ffprobe",
    "vproc/workers/launcher.py": "becomes the confined program",
    "vproc/workers/escapes.py": "what a hostile program would try, run inside the confinement",
    "vproc/cli/child.py": "the demo's daemon",
    "vproc/cli/clip.py": "the demo makes its own clip",
    "vproc/cli/playback.py": "the demo looks at its own outputs",
}
PROCESS_IMPORTS = ("subprocess", "multiprocessing", "pty", "concurrent.futures")
PROCESS_CALLS = (
    *("anyio.open_process", "anyio.run_process", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"),
    *("os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp", "os.startfile"),
    *(f"os.{verb}{form}" for verb in ("exec", "spawn") for form in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
)

# Not a value in, not a value out.
IMPURE_CALLS = {
    *(
        "open",
        "print",
        "input",
        "uuid4",
        "uuid.uuid4",
        "uuid1",
        "uuid.uuid1",
        "perf_counter",
        "monotonic",
    ),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now"),
}
FILE_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "open", "exists", "is_file", "is_dir", "stat", "unlink", "mkdir"),
    *("iterdir", "glob", "rglob", "resolve", "touch", "rename", "expanduser"),
}

BLOCKING_CALLS = {"time.sleep", "requests.get", "urllib.request.urlopen", "urlopen"}


CLOCKS_OF_THE_DAY = {"time", "time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def each(modules_: tuple[Module, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("module", modules_, ids=lambda module: module.path)


def core_modules() -> tuple[Module, ...]:
    return tuple(module for module in modules() if module.name.startswith("vproc.core"))


def test_no_file_is_too_long() -> None:
    """A file has at most 400 lines: beyond, it holds two subjects."""
    long = {module.path: lines for module in modules() if (lines := module.text.count("\n")) > MOST_LINES_OF_A_FILE}
    assert long == {}


def test_no_function_is_too_long() -> None:
    """A function has at most 60 lines, its decorators and docstring among them."""
    long = [
        f"{module.path}:{node.lineno} {node.name}: {lines} lines"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1)
        > MOST_LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_no_import_cycle() -> None:
    """No module needs itself, over however many others, imports inside functions among them."""
    known = {module.name for module in modules()}
    graph = {
        module.name: {names_module(name, known) for name, _ in module.imports()} - {None, module.name} for module in modules()
    }
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(reversed(error.args[1]))}")
    assert set(order) == known


def test_a_file_has_a_name_that_says_something() -> None:
    """No file or folder of the package is called utils, helpers, common, base or manager."""
    empty = [module.path for module in modules() if EMPTY_NAMES & set(PurePosixPath(module.path).with_suffix("").parts)]
    assert empty == []


def test_only_named_files_start_processes() -> None:
    """The daemon starts programs in `workers.process` and through its launcher; nothing else but the demo does."""
    assert {module.path for module in modules()} >= PROCESS_FILES.keys()
    found = [
        f"{module.path}:{line} {name}"
        for module in modules()
        if module.path not in PROCESS_FILES
        for name, line in (*module.imports(), *module.calls())
        if name in PROCESS_CALLS or name.startswith(PROCESS_IMPORTS)
    ]
    assert found == []


@each(core_modules())
def test_core_imports_the_standard_library_and_what_only_computes(module: Module) -> None:
    """`core` knows no third party but those that ask nobody for anything, and of the project only itself and the errors."""
    for name, line in module.imports():
        top = name.partition(".")[0]
        inside = name.startswith(("vproc.core", "vproc.errors"))
        assert inside or top in ONLY_COMPUTE or top in sys.stdlib_module_names, f"{module.path}:{line} imports {name}"


@each(core_modules())
def test_core_asks_nobody(module: Module) -> None:
    """`core` reads no clock, no file and no chance: those are arguments."""
    asked = [
        f"{module.path}:{line} {name}()"
        for name, line in module.calls()
        if name in IMPURE_CALLS or name.rpartition(".")[2] in FILE_METHODS
    ]
    assert asked == []


def test_the_catalog_reads_no_clock_of_the_day_but_the_databases() -> None:
    """Daemons whose clocks differ by minutes share leases. What is idle here is measured by the monotonic clock."""
    own = [module for module in modules() if module.name.startswith("vproc.db.")]
    assert len(own) > 10
    asked = [f"{module.path}:{line} {name}()" for module in own for name, line in module.calls() if name in CLOCKS_OF_THE_DAY]
    assert asked == []


def test_nothing_blocks_the_loop_on_purpose() -> None:
    """No call that is known to block stands in the package."""
    assert [
        f"{module.path}:{line} {name}()" for module in modules() for name, line in module.calls() if name in BLOCKING_CALLS
    ] == []


def test_importing_the_package_does_nothing() -> None:
    """No call stands at the top of a module but those that make values: no client, no registry, no task."""
    eager = {
        "Metrics",
        "Settings",
        "load_settings",
        "CollectorRegistry",
        "ClientSession",
        "AioSession",
        "create_async_engine",
        "configure_logging",
    }
    found = [
        f"{module.path}:{node.lineno} {dotted(call.func)}()"
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and dotted(call.func).rpartition(".")[2] in eager
    ]
    assert found == []


def test_no_global_statement() -> None:
    """No function changes a module's variables: state lives in objects that somebody made."""
    assert [f"{m.path}:{node.lineno}" for m in modules() for node in ast.walk(m.tree) if isinstance(node, ast.Global)] == []
