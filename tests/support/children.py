"""Children that misbehave, each a few lines of Python, and small daemons that run confined ones, to be killed or as nobody."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import anyio

from vproc.ports import ProcessLimits
from vproc.settings import SandboxMode
from vproc.workers.confinement import Confinement, Layer
from vproc.workers.runners import LocalRunner
from vproc.workers.sandbox import landlock_abi, probe_sandbox

ROOT = Path(__file__).parents[2]
MIB = 1024**2

STUBS = {
    "exit": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))",
    "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "hang": "import os, signal; print(os.getpid(), flush=True); signal.pause()",
    "stubborn": """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True: time.sleep(60)""",
    "obedient": """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(255))
print('ready', flush=True)
signal.pause()""",
    "spin": """
import time
while time.process_time() < float(__import__('sys').argv[1]): pass""",
    "flood_stderr": """
import os, sys
for _ in range(int(sys.argv[1])): os.write(2, b'x' * 65535 + b'\\n')
os.write(2, b'the last word')""",
    "flood_and_ignore": """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
while True: os.write(2, b'x' * 65536)""",
    "flood_stdout": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "count_input": """
import hashlib, sys
data = sys.stdin.buffer.read()
print(len(data), hashlib.sha256(data).hexdigest())""",
    "take_a_little": "import sys; print(len(sys.stdin.buffer.read(int(sys.argv[1]))))",
    "take_nothing": "import time\nwhile True: time.sleep(60)",
    "tick": """
import time
for n in range(8): print(n, flush=True); time.sleep(0.1)""",
    "fill": """
import os, time
for n in range(1000):
    with open(f'{n}', 'wb') as f: f.write(b'x' * 1048576)
    time.sleep(0.01)""",
    "fill_unlinked": """
import os, time
f = open('ghost', 'wb'); os.unlink('ghost')
for n in range(1000): f.write(b'x' * 1048576); f.flush(); time.sleep(0.01)""",
    "one_large": "f = open('large', 'wb')\nwhile True: f.write(b'x' * 65536)",
    "reserve": """
import mmap, sys
print(len(mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)))""",
    "allocate": "held = bytearray(int(__import__('sys').argv[1])); print(len(held))",
    "orphan": """
import os, signal, sys
heard, said = os.pipe()
if not os.fork():
    if not os.fork():
        if sys.argv[1:] == ['away']: os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(os.getpid(), flush=True)
        os.write(said, b'.')
        signal.pause()
    os._exit(0)
os.wait()
os.read(heard, 1)""",
    "inside": """
import json, os, resource, signal
print(json.dumps({
    'environ': dict(os.environ), 'cwd': os.getcwd(), 'nice': os.nice(0),
    'pid': os.getpid(), 'pgid': os.getpgid(0), 'sid': os.getsid(0),
    'descriptors': [fd for fd in range(64) if os.path.exists(f'/proc/self/fd/{fd}')], 'stdin': os.read(0, 1).decode(),
    'oom': open('/proc/self/oom_score_adj').read().strip(),
    'core': resource.getrlimit(resource.RLIMIT_CORE), 'files': resource.getrlimit(resource.RLIMIT_NOFILE),
    'processes': resource.getrlimit(resource.RLIMIT_NPROC)}))""",
    "forge": """
import os, sys
os.write(2, b'vproc-launcher 0123456789abcdef landlock: forged\\n'); sys.exit(126)""",
}


def stub(name: str, *arguments: object) -> list[str]:
    """The command line of a stub."""
    return [sys.executable, "-I", "-S", "-c", STUBS[name], *map(str, arguments)]


def limits(**changes: float | None) -> ProcessLimits:
    """Limits that no test meets by accident."""
    ample = ProcessLimits(wall_s=60, cpu_s=60, memory_bytes=4096 * MIB, output_bytes=256 * MIB, directory_bytes=512 * MIB)
    return replace(ample, **changes)  # type: ignore[arg-type]


def confined(*layers: Layer) -> LocalRunner:
    """A runner with these layers, all of them where none is named, whose children may be Python."""
    confinement = Confinement(
        frozenset(layers or Layer), landlock_abi=landlock_abi(), readable=(sys.base_prefix, sys.base_exec_prefix)
    )
    return LocalRunner(confinement, grace_s=0.5)


def unconfined() -> LocalRunner:
    """A runner as under ``VPROC_SANDBOX=off``."""
    return confined(Layer.RLIMITS)


def gone(pid: int) -> bool:
    """No such process, or only its entry, which waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def until(condition: Callable[[], bool], *, within_s: float = 1.0) -> bool:
    """Whether another process comes to it in time."""
    with anyio.move_on_after(within_s):
        while not condition():  # noqa: ASYNC110 - the other process sets no event of ours
            await anyio.sleep(0.01)
    return condition()


def children() -> list[int]:
    """Every child of this process, zombies too."""
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def names_in(directory: Path) -> list[str]:
    """What stands in a directory."""
    return sorted(path.name for path in directory.iterdir())


def descriptors() -> set[str]:
    """Open descriptors of this process, the one that looks left out."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(f"{link.name} {link.readlink()}")
    return found


def other_user(*arguments: str) -> list[str]:
    """The command line that runs one of this module's commands as nobody, where this user may become it, else as this user.
    Run it in `reachable_code`."""
    module = ["-m", "tests.support.children", *arguments]
    if os.geteuid() != 0:
        return [sys.executable, *module]
    prefix = ["env", f"PYTHONPATH={reachable_code()}", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    # An interpreter below root's home is out of nobody's reach; the system's of the same version is not.
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        if subprocess.run([*prefix, "test", "-x", python], check=False, cwd="/").returncode == 0:
            return [*prefix, python, *module]
    raise AssertionError("no interpreter of this version that every user may run")


@cache
def reachable_code() -> Path:
    """A copy of what this module needs, where every user may read it: this checkout may lie where only root may."""
    folder = Path(tempfile.mkdtemp(prefix="vproc-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    asked = [sys.executable, "-c", _TOP_LEVEL]
    found = subprocess.run(asked, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    for path in map(Path, found):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(path, folder)
    return folder


_TOP_LEVEL = """
import pathlib, sys
import tests.support.children
# The checkout comes last: the virtual environment may lie in it.
places = [*(pathlib.Path(place).resolve() for place in sys.path if place.endswith("-packages")), pathlib.Path.cwd().resolve()]
found = set()
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), None)
    resolved = pathlib.Path(file).resolve() if file else None
    inside = [place for place in places if resolved and resolved.is_relative_to(place)]
    if inside:
        found.add(inside[0] / resolved.relative_to(inside[0]).parts[0])
print(*found, sep="\\n")
"""


TRANSCODES: dict[str, Sequence[str]] = {
    "h264.mp4": (
        *("-f", "lavfi", "-i", "testsrc2=duration=1:size=320x240:rate=25", "-f", "lavfi", "-i", "sine=duration=1"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"),
    ),
    "hevc.mp4": ("-i", "file:h264.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-c:a", "copy"),
}


async def transcode(directory: Path) -> dict[str, object]:
    """Make `TRANSCODES` under every layer, or fail; the codecs that ffprobe, confined too, finds in the last."""
    runner = LocalRunner((await probe_sandbox(SandboxMode.REQUIRE, scratch_dir=directory)).confinement)
    for name, arguments in TRANSCODES.items():
        command = ["ffmpeg", "-nostdin", "-v", "error", *arguments, "-y", f"file:{directory / name}"]
        result = await runner.run(command, cwd=directory, limits=limits())
        if result.returncode:
            return {"failed": name, "stderr": result.stderr}
    probed = await runner.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "json", f"file:{directory / 'hevc.mp4'}"],
        cwd=directory,
        limits=limits(),
    )
    return {"uid": os.geteuid(), "codecs": [stream["codec_name"] for stream in json.loads(probed.stdout)["streams"]]}


def _say(line: str) -> bool:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return True


async def _main(command: str, directory: Path) -> None:
    match command:
        case "transcode":
            _say(json.dumps(await transcode(directory)))
        case "escape":
            report = await probe_sandbox(SandboxMode.REQUIRE, scratch_dir=directory)
            _say(json.dumps({"uid": os.geteuid(), "escapes": [asdict(escape) for escape in report.escapes]}))
        case "hold":
            await confined().run(stub("stubborn"), cwd=directory, limits=limits(), on_line=_say)


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], Path(sys.argv[2]))
