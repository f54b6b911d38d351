"""Taking captions out, over a runner that plays: what is kept and what goes wrong. The real ffmpeg: `tests/ffmpeg`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.samples import audio, label, media, video
from vproc.core.captions import CaptionTrack
from vproc.core.media import CaptionStream, MediaInfo
from vproc.errors import UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, StopReason
from vproc.workers.captions import extract_captions

TEXTS = (CaptionStream(2, "subrip", label("eng")), CaptionStream(3, "subrip", label("deu")))
INFO = media(video(), audio(), captions=TEXTS)


def ended(returncode: int = 0, stopped: StopReason | None = None) -> ProcessResult:
    return ProcessResult(
        returncode=returncode, stdout=b"", stderr="", stopped=stopped, wall_s=0.1, cpu_s=0.1, peak_memory_bytes=1
    )


@dataclass(slots=True)
class Writer:
    """Writes these texts in the order of the files on its command lines, then ends so."""

    texts: list[bytes | None]
    end: ProcessResult | Exception = field(default_factory=ended)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    limits: list[ProcessLimits] = field(default_factory=list)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        self.calls.append(tuple(argv))
        self.limits.append(limits)
        if isinstance(self.end, Exception):
            raise self.end
        for word in argv:
            if word.endswith(".vtt") and (text := self.texts.pop(0)) is not None:
                write(Path(word.removeprefix("file:")), text, within=cwd)
        return self.end


def write(path: Path, text: bytes, *, within: Path) -> None:
    """As a confined child may."""
    assert path.is_relative_to(within)
    path.write_bytes(text)


async def run(writer: Writer, folder: Path, *, info: MediaInfo = INFO, source: bytes = b"film") -> tuple[CaptionTrack, ...]:
    out = folder / "out"
    out.mkdir()
    path = folder / "source"
    path.write_bytes(source)
    return await extract_captions(info, runner=writer, ffmpeg="ffmpeg", source=path, out_dir=out, max_pixels=1000, wall_s=60)


def cue(text: str, start_s: int = 1, end_s: int = 2) -> bytes:
    return f"WEBVTT\n\n00:{start_s:02}.000 --> 00:{end_s:02}.000\n{text}\n".encode()


async def test_one_run_gives_every_track_and_leaves_only_clean_files(tmp_path: Path) -> None:
    writer = Writer([cue("<script>"), cue("zwei")])
    tracks = await run(writer, tmp_path)
    assert [(track.name, track.stream) for track in tracks] == [("captions", TEXTS[0]), ("captions-2", TEXTS[1])]
    assert tracks[0].path.read_text() == "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n&lt;script&gt;\n"
    assert len(writer.calls) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["captions-2.vtt", "captions.vtt"]
    assert (writer.limits[0].wall_s, writer.limits[0].output_bytes) == (60, 32 * 1024 * 1024)


@pytest.mark.parametrize(
    "first", [b"", b"WEBVTT\n\n", cue(" "), cue("late", 50, 55), None], ids=["empty", "none", "blank", "late", "unwritten"]
)
async def test_a_track_without_a_text_in_the_film_gives_its_place_to_the_next(first: bytes | None, tmp_path: Path) -> None:
    tracks = await run(Writer([first, cue("zwei")]), tmp_path)
    assert [(track.name, track.stream) for track in tracks] == [("captions", TEXTS[1])]


async def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    tracks = await run(
        Writer([b"\xff\xfe" + cue("\x00caf\udce9".encode("utf-8", "surrogateescape").decode("latin-1")), None]), tmp_path
    )
    assert len(tracks) == 1
    assert "\x00" not in tracks[0].path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "end",
    [ended(1), ended(-9, StopReason.WALL), ended(-25)],
    ids=["failed", "too long", "too large"],
)
async def test_captions_that_cannot_be_read_are_left_out_and_the_film_is_not(end: ProcessResult, tmp_path: Path) -> None:
    assert await run(Writer([cue("eins"), cue("zwei")], end), tmp_path) == ()


async def test_a_machine_that_starts_nothing_is_no_fault_of_the_captions(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        await run(Writer([], UnavailableError("no ffmpeg")), tmp_path)


CC = b"GA94\x03\x41\xff\xfc\xc8\xe5\xff"


@pytest.mark.parametrize("at", [0, 3_000_000, 5_999_000], ids=["first", "middle", "last"])
async def test_captions_in_the_pictures_are_found_wherever_they_begin(at: int, tmp_path: Path) -> None:
    """They come last, and their times count from the first picture, which is half a second late."""
    source = bytes(at) + CC + bytes(6_000_000 - at)
    writer = Writer([cue("eins"), cue("zwei"), cue("Hello")])
    info = media(video(start_s=0.5), audio(), captions=TEXTS)
    tracks = await run(writer, tmp_path, info=info, source=source)
    assert [track.name for track in tracks] == ["captions", "captions-2", "captions-3"]
    assert "00:00:01.500 --> 00:00:02.500\nHello" in tracks[2].path.read_text()
    assert len(writer.calls) == 2


async def test_one_kind_of_captions_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    class Half(Writer):
        async def run(self, argv: Sequence[str], **given: object) -> ProcessResult:
            self.end = ended(1) if "lavfi" in argv else ended()
            return await Writer.run(self, argv, **given)  # type: ignore[arg-type]

    tracks = await run(Half([cue("eins"), cue("zwei"), cue("Hello")]), tmp_path, source=CC)
    assert [track.stream for track in tracks] == list(TEXTS)
