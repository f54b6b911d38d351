"""The manifest: the commit of a file, and the only thing that says which run's outputs are its outputs.

It is written once, with ``If-None-Match: *``, after every object that it lists. The fixed entry points follow from it:
each is a copy of an object of the winning run, so whoever writes them writes the same bytes.
"""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vproc.core.files import ObjectVersion
from vproc.core.media import MediaInfo
from vproc.errors import ErrorCode, TransientError

MANIFEST_VERSION = 1


class OutputKind(StrEnum):
    """What an output is."""

    HLS = "hls"
    DASH = "dash"
    HLS_MEDIA = "hls_media"
    """The playlist of one rendition; it carries that rendition's codec, size and bitrate."""
    HLS_IFRAMES = "hls_iframes"
    """The playlist of one rendition's key frames, for trick play."""
    INIT = "init"
    SEGMENT = "segment"
    VIDEO = "video"
    AUDIO = "audio"
    POSTER = "poster"
    SPRITE = "sprite"
    SPRITE_VTT = "sprite_vtt"
    CAPTIONS = "captions"
    """Subtitles as WebVTT."""
    CHAPTERS = "chapters"
    METADATA = "metadata"


MEDIA_TYPES = {
    OutputKind.HLS: "application/vnd.apple.mpegurl",
    OutputKind.HLS_MEDIA: "application/vnd.apple.mpegurl",
    OutputKind.HLS_IFRAMES: "application/vnd.apple.mpegurl",
    OutputKind.DASH: "application/dash+xml",
    OutputKind.POSTER: "image/jpeg",
    OutputKind.SPRITE: "image/jpeg",
    OutputKind.SPRITE_VTT: "text/vtt; charset=utf-8",
    OutputKind.CAPTIONS: "text/vtt; charset=utf-8",
    OutputKind.CHAPTERS: "text/vtt; charset=utf-8",
    OutputKind.METADATA: "application/json",
}
"""Content types that follow from the kind alone; media files say their own."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Output(_Model):
    """One object of the winning run. ``sha256`` is hex, over all its bytes. ``checksum`` is what the store should tell as
    ``x-amz-checksum-sha256`` where that is another value, because the object went up in several parts. ``language``: BCP 47.
    ``title`` is the maker's."""

    kind: OutputKind
    key: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    content_type: str
    checksum: str | None = None
    name: str | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    bitrate_bps: int | None = None
    duration_s: float | None = None
    quality: dict[str, float] | None = None
    language: str | None = None
    title: str | None = None

    @property
    def store_checksum(self) -> str:
        """The base64 value that the store should keep for it."""
        return self.checksum or base64_of_hex(self.sha256)


class EntryPoint(Output):
    """An object under a fixed name: the same bytes as ``source_key``, which lies under the winning run."""

    source_key: str


class Source(_Model):
    """The object version that was processed, and what it held."""

    bucket: str
    key: str
    etag: str
    version_id: str | None = None
    bytes: int
    container: str
    duration_s: float | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None


class Receipt(_Model):
    """What the run took, up to the commit. ``cpu_s`` and ``peak_memory_bytes`` are of ffmpeg and ffprobe: processor seconds of
    all of them, memory of the largest. Requests are counted by operation. ``speed``: seconds of source in one of ``wall_s``."""

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    bytes_in: int
    bytes_out: int
    s3_requests: dict[str, int]
    sqs_requests: dict[str, int]
    speed: float | None = None


class Manifest(_Model):
    """What stands for a file, and how it came to be. ``stages`` holds seconds by stage up to the commit."""

    version: int = MANIFEST_VERSION
    file_id: UUID
    run_id: str
    profile: str
    created_at: datetime
    source: Source
    damaged: bool = False
    target_codec: str | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    receipt: Receipt | None = None
    tools: dict[str, str] = Field(default_factory=dict)
    command_sha256: str | None = None
    outputs: tuple[Output, ...]
    entry_points: tuple[EntryPoint, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all objects that it names."""
        return sum(output.bytes for output in (*self.outputs, *self.entry_points))

    def to_json(self) -> bytes:
        """The bytes of ``manifest.json``."""
        return self.model_dump_json(exclude_none=True, indent=1).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Manifest:
        """Read one. Raises `TransientError`: a manifest that cannot be read must be looked at, never overwritten."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"manifest.json cannot be read: {error.errors()[0]['msg']}") from error


def describe_source(version: ObjectVersion, info: MediaInfo) -> Source:
    """A source as a manifest tells of it."""
    return Source(
        bucket=version.bucket,
        key=version.key,
        etag=version.etag,
        version_id=version.version_id,
        bytes=version.size_bytes,
        container=str(info.container),
        duration_s=info.duration_s,
        codec=info.codec,
        width=info.video.display_width if info.video else None,
        height=info.video.display_height if info.video else None,
    )


def source_version(manifest: Manifest) -> ObjectVersion:
    """The object version that was processed."""
    source = manifest.source
    return ObjectVersion(source.bucket, source.key, source.etag, source.bytes, source.version_id)


def base64_of_hex(digest: str) -> str:
    """A hex digest as the store's headers hold it."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def checksum_matches(expected: str, told: str) -> bool:
    """Whether the store's checksum is the expected one. Some stores leave out the ``-N`` of an object in N parts."""
    return expected == told or expected.partition("-")[0] == told.partition("-")[0]
