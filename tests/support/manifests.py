"""Manifests for tests of those who read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from vproc.core.manifest import MEDIA_TYPES, EntryPoint, Manifest, Output, OutputKind, Source

DIGEST = "ab" * 32


def output(kind: OutputKind, key: str, **fields: Any) -> Output:
    """An output of 100 bytes, with the content type of its kind."""
    values = {"bytes": 100, "sha256": DIGEST, "content_type": MEDIA_TYPES.get(kind, "video/mp4")}
    return Output(kind=kind, key=key, **{**values, **fields})


def entry_point(kind: OutputKind, key: str, source_key: str) -> EntryPoint:
    """A fixed name for an output of 100 bytes."""
    return EntryPoint(kind=kind, key=key, bytes=100, sha256=DIGEST, content_type=MEDIA_TYPES[kind], source_key=source_key)


def manifest(file_id: UUID, *outputs: Output, entry_points: tuple[EntryPoint, ...] = ()) -> Manifest:
    """A manifest of run ``r1`` with these outputs."""
    return Manifest(
        file_id=file_id,
        run_id="r1",
        profile="abr",
        created_at=datetime.now(UTC),
        source=Source(
            bucket="raw", key="a.mp4", etag="e", version_id=None, bytes=1, container="mov", duration_s=5.0, codec="hevc"
        ),
        outputs=outputs,
        entry_points=entry_points,
    )


def ladder(file_id: UUID) -> Manifest:
    """What the profile ``abr`` gives: playlists, media in segments, pictures, under fixed names and under the run."""
    run = f"{file_id}/r1"
    return manifest(
        file_id,
        output(OutputKind.HLS, f"{run}/master.m3u8"),
        output(OutputKind.DASH, f"{run}/manifest.mpd"),
        output(OutputKind.HLS_MEDIA, f"{run}/720p.m3u8", codec="h264", width=1280, height=720, bitrate_bps=2_500_000),
        output(OutputKind.INIT, f"{run}/720p/init.mp4"),
        output(OutputKind.SEGMENT, f"{run}/720p/1.m4s"),
        output(OutputKind.SEGMENT, f"{run}/720p/2.m4s"),
        output(OutputKind.POSTER, f"{run}/poster.jpg", width=1280, height=720),
        entry_points=(
            entry_point(OutputKind.HLS, f"{file_id}/master.m3u8", f"{run}/master.m3u8"),
            entry_point(OutputKind.DASH, f"{file_id}/manifest.mpd", f"{run}/manifest.mpd"),
            entry_point(OutputKind.POSTER, f"{file_id}/poster.jpg", f"{run}/poster.jpg"),
        ),
    )
