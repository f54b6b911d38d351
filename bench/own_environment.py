"""Programs that run in an environment of their own, since they need other versions of what vproc needs, or what it does not.

``python -m bench.own_environment FILE`` makes the one of these requirements, where it is not there.
"""

from __future__ import annotations

import sys
import venv
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.to_thread

from bench.daemon import ROOT, environment
from bench.processes import BenchError

_INSTALLED_WITHIN_S = 600.0


async def own_environment(requirements: Path) -> Path:
    """The interpreter of an environment that holds those requirements, made where it is not there. pip's own settings say where
    packages come from. Raises `BenchError` with the end of what pip said."""
    digest = sha256(await anyio.Path(requirements).read_bytes()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"{requirements.stem.replace('_', '-')}-{digest}"
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    if not stamp.exists():
        await anyio.to_thread.run_sync(lambda: venv.create(folder, with_pip=True, clear=True))
        argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
        with anyio.fail_after(_INSTALLED_WITHIN_S):
            done = await anyio.run_process(argv, env=environment(), check=False)
        if done.returncode != 0:
            raise BenchError(f"pip could not install {requirements.name}: {done.stderr.decode(errors='replace').strip()[-300:]}")
        stamp.touch()
    return python


if __name__ == "__main__":
    anyio.run(own_environment, Path(sys.argv[1]))
