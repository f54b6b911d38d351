"""From encoded files to the objects that are published: playlists, pictures, metadata. Segments are cut in `workers.follow`.
Nothing is sent here.

Runs in a thread: it reads and hashes files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vproc.core.captions import CaptionTrack
from vproc.core.closure import check_closure
from vproc.core.dash import dash_manifest
from vproc.core.description import describe, known, left_out
from vproc.core.fmp4 import TrackIndex
from vproc.core.labels import TrackLabel
from vproc.core.manifest import MEDIA_TYPES, OutputKind
from vproc.core.media import Chapter, MediaInfo
from vproc.core.plan import OutputKind as PlannedKind
from vproc.core.plan import Plan, PlannedOutput
from vproc.core.playlist import average_bps, caption_playlist, iframe_playlist, master_playlist, media_playlist, segment_name
from vproc.core.presentation import TRICK_RUNGS, CaptionRendition, Presentation, Rendition
from vproc.core.sprite import sprite_vtt
from vproc.core.vtt import chapters_vtt
from vproc.ports import FileSlice
from vproc.workers.media import Verified, existing

_CHUNK_BYTES = 1024 * 1024
_MEDIA_TYPE_OF_SUFFIX = {
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
ENTRY_FOLDER = "entry/"
"""Under the run: the bytes of the fixed entry points, whose links are relative to the file's own prefix."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object to publish. ``path`` is below the run's prefix. ``facts`` are what the manifest says of it beside."""

    kind: OutputKind
    path: str
    content_type: str
    body: FileSlice | bytes
    facts: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """How many bytes it has."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size_bytes

    @property
    def sha256(self) -> str:
        """Hex."""
        return hashlib.sha256(self.body).hexdigest() if isinstance(self.body, bytes) else self.body.sha256


@dataclass(frozen=True, slots=True)
class CutTrack:
    """A fragmented track, cut: its index and its objects, the header first, then the segments."""

    index: TrackIndex
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """All objects of a run. ``entries`` maps the name of a fixed entry point to the path of the object that it copies."""

    items: tuple[Item, ...]
    entries: dict[str, str]


def build_package(
    plan: Plan,
    info: MediaInfo,
    verified: Verified,
    tracks: Mapping[str, CutTrack],
    *,
    run_id: str,
    metadata: dict[str, Any],
    captions: Sequence[CaptionTrack] = (),
) -> Package:
    """Hash and describe. ``tracks``: those of `workers.follow`, by their rendition. ``captions``: those of `workers.captions`.

    Raises `TransientError` ``output_invalid`` where the playlists do not hold together.
    """
    builder = _Builder(run_id, verified, tracks)
    for output in plan.outputs:
        builder.add(output)
    for track in captions:
        builder.add_captions(track)
    builder.add_manifests(captions)
    if info.chapters and any(output.is_media for output in plan.outputs):
        builder.add_chapters(info.chapters)
    if plan.sprite is not None:
        builder.add_sprite_vtt(lambda uri, sheets: sprite_vtt(plan.sprite, uri, sheets=sheets) if plan.sprite else "")
    source = describe(info) | known({"left_out": left_out(info, captions)})
    builder.add_metadata({**metadata, "source": source, "damaged": verified.verdict.damaged})
    return Package(tuple(builder.items), builder.entries)


class _Builder:
    def __init__(self, run_id: str, verified: Verified, tracks: Mapping[str, CutTrack]) -> None:
        self.items: list[Item] = []
        self.entries: dict[str, str] = {}
        self._run_id = run_id
        self._probed = verified.probed
        self._measures = verified.measures
        self._tracks = tracks
        self._videos: list[Rendition] = []
        self._sounds: list[Rendition] = []
        self._playlists: dict[str, str] = {}
        self._durations_s: dict[str, float] = {}
        self._sheets: list[str] = []

    def add(self, output: PlannedOutput) -> None:
        """One encoded file, or the sheets of a sprite."""
        match output.kind:
            case PlannedKind.CMAF_VIDEO | PlannedKind.CMAF_AUDIO:
                self._add_track(output)
            case PlannedKind.SPRITE:
                for path in existing(output):
                    self._sheets.append(path.name)
                    self._put(OutputKind.SPRITE, path.name, _whole(path), width=output.width, height=output.height)
            case PlannedKind.POSTER:
                self._put(OutputKind.POSTER, output.path.name, _whole(output.path), width=output.width, height=output.height)
                self.entries["poster.jpg"] = output.path.name
            case PlannedKind.VIDEO | PlannedKind.AUDIO:
                self._add_file(output)

    def _add_file(self, output: PlannedOutput) -> None:
        body = _whole(output.path)
        kind = OutputKind.VIDEO if output.kind is PlannedKind.VIDEO else OutputKind.AUDIO
        content_type = _MEDIA_TYPE_OF_SUFFIX[output.path.suffix]
        if kind is OutputKind.AUDIO:
            content_type = content_type.replace("video/", "audio/")
        probed = self._probed[output.rendition]
        self._put(
            kind,
            output.path.name,
            body,
            content_type=content_type,
            name=output.rendition,
            codec=output.codec,
            width=output.width,
            height=output.height,
            bitrate_bps=probed.bitrate_bps,
            duration_s=probed.duration_s,
            quality=self._quality(output),
        )

    def _quality(self, output: PlannedOutput) -> dict[str, float] | None:
        return dict(self._measures[output.rendition]) if output.rendition in self._measures else None

    def _add_track(self, output: PlannedOutput) -> None:
        """A fragmented file: its header, its segments, its playlist."""
        folder, label = f"{output.rendition}/", output.sounds[0].label if output.sounds else TrackLabel()
        track = self._tracks[output.rendition]
        index = track.index
        self.items += track.items
        self._put_playlist(
            OutputKind.HLS_MEDIA,
            f"{folder}playlist.m3u8",
            media_playlist(index, segment_name, "init.mp4"),
            index.duration_s,
            name=output.rendition,
            codec=output.codec,
            width=output.width,
            height=output.height,
            bitrate_bps=average_bps(index),
            duration_s=round(index.shown_s, 3),
            quality=self._quality(output),
            language=label.tag,
            title=label.title,
        )
        from_root = f"{self._run_id}/{folder}"
        rendition = Rendition(
            output.rendition, index, f"{from_root}playlist.m3u8", f"{from_root}init.mp4", f"{from_root}seg-$Number%05d$.m4s",
            label=label,
        )  # fmt: skip
        (self._videos if index.is_video else self._sounds).append(rendition)

    def add_captions(self, track: CaptionTrack) -> None:
        """One file of them."""
        label = track.stream.label
        self._put(
            OutputKind.CAPTIONS, f"{track.name}/captions.vtt", _whole(track.path), name=track.name, language=label.tag,
            title=label.title,
        )  # fmt: skip

    def add_manifests(self, captions: Sequence[CaptionTrack]) -> None:
        """HLS's and DASH's own, where there are tracks; then all of them are read back."""
        if not self._videos:
            return
        videos = (*self._videos[:-TRICK_RUNGS], *map(self._with_key_frames, self._videos[-TRICK_RUNGS:]))
        shown = Presentation(videos, tuple(self._sounds))
        shown = replace(shown, captions=tuple(self._caption_rendition(track, shown.duration_s) for track in captions))
        self._playlists |= {"master.m3u8": master_playlist(shown), "manifest.mpd": dash_manifest(shown)}
        check_closure(self._playlists, {f"{self._run_id}/{item.path}": item.size_bytes for item in self.items}, self._durations_s)
        self._entry(OutputKind.HLS, "master.m3u8", self._playlists["master.m3u8"].encode())
        self._entry(OutputKind.DASH, "manifest.mpd", self._playlists["manifest.mpd"].encode())

    def _caption_rendition(self, track: CaptionTrack, duration_s: float) -> CaptionRendition:
        path, label = f"{track.name}/playlist.m3u8", track.stream.label
        text = caption_playlist(duration_s, "captions.vtt")
        self._put_playlist(OutputKind.HLS_MEDIA, path, text, duration_s, name=track.name, codec="webvtt", language=label.tag)
        from_root = f"{self._run_id}/{track.name}"
        size_bytes = track.path.stat().st_size
        return CaptionRendition(
            track.name, f"{from_root}/playlist.m3u8", f"{from_root}/captions.vtt", size_bytes, duration_s, label
        )

    def add_chapters(self, chapters: Sequence[Chapter]) -> None:
        """The chapters as a track of that kind."""
        self._entry(OutputKind.CHAPTERS, "chapters.vtt", chapters_vtt(chapters).encode())

    def _with_key_frames(self, video: Rendition) -> Rendition:
        path = f"{video.name}/iframes.m3u8"
        text = iframe_playlist(video.index, segment_name, "init.mp4")
        self._put_playlist(OutputKind.HLS_IFRAMES, path, text, video.index.duration_s, name=video.name)
        return replace(video, iframes_uri=f"{self._run_id}/{path}")

    def _put_playlist(self, kind: OutputKind, path: str, text: str, length_s: float, **facts: Any) -> None:
        self._put(kind, path, text.encode(), **facts)
        self._playlists[f"{self._run_id}/{path}"] = text
        self._durations_s[f"{self._run_id}/{path}"] = length_s

    def add_sprite_vtt(self, write: Callable[[Callable[[int], str], int], str]) -> None:
        """The cues that point into the sheets."""
        text = write(lambda sheet: f"{self._run_id}/{self._sheets[sheet]}", len(self._sheets))
        self._entry(OutputKind.SPRITE_VTT, "sprite.vtt", text.encode())

    def add_metadata(self, document: dict[str, Any]) -> None:
        """What a program wants to know without asking the API."""
        renditions = [
            {"kind": item.kind.value, "path": f"{self._run_id}/{item.path}", "bytes": item.size_bytes} | known(item.facts)
            for item in self.items
            if item.kind in {OutputKind.HLS_MEDIA, OutputKind.VIDEO, OutputKind.AUDIO, OutputKind.CAPTIONS}
        ]
        body = json.dumps({**document, "renditions": renditions}, indent=1, ensure_ascii=False).encode()
        self._entry(OutputKind.METADATA, "metadata.json", body)

    def _entry(self, kind: OutputKind, name: str, body: bytes) -> None:
        self._put(kind, ENTRY_FOLDER + name, body)
        self.entries[name] = ENTRY_FOLDER + name

    def _put(
        self, kind: OutputKind, path: str, body: FileSlice | bytes, *, content_type: str | None = None, **facts: Any
    ) -> None:
        self.items.append(Item(kind, path, content_type or MEDIA_TYPES[kind], body, facts))


def _whole(path: Path) -> FileSlice:
    return slice_of(path, 0, path.stat().st_size)


def slice_of(path: Path, offset: int, size_bytes: int) -> FileSlice:
    """A part of a file with its digest."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(offset)
        for start in range(0, size_bytes, _CHUNK_BYTES):
            digest.update(file.read(min(_CHUNK_BYTES, size_bytes - start)))
    return FileSlice(path, offset, size_bytes, digest.hexdigest())
