"""Addresses of what can be fetched: the original while it stands, and the outputs that the manifest lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote

import structlog
from aiohttp import web
from anyio.lowlevel import checkpoint

from vproc.api.access import own_file
from vproc.api.body import read_query
from vproc.api.models import OriginalAddress, OutputAddress, OutputQuery, ProcessedAddresses
from vproc.api.originals import standing_original
from vproc.api.parts import Parts, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, Route
from vproc.core.files import File, RawState, Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest, Output, OutputKind
from vproc.errors import NotFoundError

_SEGMENTS = frozenset({OutputKind.SEGMENT, OutputKind.INIT})
_SAVED_UNDER_A_NAME = frozenset({OutputKind.VIDEO, OutputKind.AUDIO})

log = structlog.stdlib.get_logger(__name__)


async def original(request: web.Request) -> web.Response:
    """Address of the original, while there is one."""
    parts = parts_of(request)
    file = await own_file(request)
    if file.raw_state is not RawState.KEPT:
        raise NotFoundError("The original was deleted after processing; the outputs stand under download/processed.")
    if await standing_original(parts.raw, file) is None:
        if file.status in {Status.PENDING, Status.EXPIRED}:
            raise NotFoundError(f"Nothing was uploaded yet. Current status: {file.status}")
        raise NotFoundError("The original is not there any more: it expired or was deleted in the bucket.")
    signed = await parts.presigner.get_raw(file.key, file_name=file.file_name)
    return reply(OriginalAddress(download_url=signed.url, expires_at=signed.expires_at))


async def processed(request: web.Request) -> web.Response:
    """Addresses of the outputs of a completed file."""
    parts = parts_of(request)
    query = read_query(request, OutputQuery)
    file = await own_file(request)
    outputs = listed_outputs(await committed_manifest(parts, file), segments=query.segments)
    if not outputs:
        raise NotFoundError("The file was processed, but nothing came of it.")
    addresses = []
    ends: list[datetime] = []
    for output in outputs:
        url, expires_at = await _address(parts, file, output)
        addresses.append(OutputAddress.of(output, url))
        ends += [expires_at] if expires_at else []
        await checkpoint()  # signing asks nobody and takes its time: thousands of segments must not hold up heartbeats
    main = addresses[outputs.index(main_output(outputs))]
    answer = ProcessedAddresses(download_url=main.url, expires_at=min(ends, default=None), outputs=tuple(addresses))
    return reply(answer)


async def committed_manifest(parts: Parts, file: File) -> Manifest:
    """The manifest of a completed file; `NotFoundError` for any other."""
    if file.status is not Status.COMPLETED:
        raise NotFoundError(f"Processed file not available. Current status: {file.status}")
    body = await parts.processed.get(manifest_key(file.file_id))
    if body is None:
        log.error("manifest_missing", file_id=str(file.file_id))
        raise NotFoundError(
            f"Processed file not available. Current status: {file.status}, but its outputs are gone from the bucket."
        )
    return Manifest.from_json(body)


def listed_outputs(manifest: Manifest, *, segments: bool = False) -> tuple[Output, ...]:
    """Entry points first, then what they are no copies of; without single segments and their headers unless asked for."""
    left_out = frozenset() if segments else _SEGMENTS
    copied = {entry.source_key for entry in manifest.entry_points}
    others = (output for output in manifest.outputs if output.kind not in left_out and output.key not in copied)
    return (*manifest.entry_points, *others)


def main_output(outputs: Iterable[Output]) -> Output:
    """The one to give a person: the largest video file, MP4 before others, else the audio, else HLS, else the poster."""
    ranks = {OutputKind.VIDEO: 5, OutputKind.AUDIO: 4, OutputKind.HLS: 3, OutputKind.DASH: 2, OutputKind.POSTER: 1}
    return max(outputs, key=lambda output: (ranks.get(output.kind, 0), output.content_type == "video/mp4", output.bytes))


async def _address(parts: Parts, file: File, output: Output) -> tuple[str, datetime | None]:
    """Where an output can be fetched, and until when; for ever behind a CDN."""
    if parts.limits.public_url is not None:
        return f"{parts.limits.public_url.rstrip('/')}/{quote(output.key)}", None
    name = None
    if output.kind in _SAVED_UNDER_A_NAME:
        made = PurePosixPath(output.key)
        name = f"{PurePosixPath(file.file_name).stem}-{made.stem}{made.suffix}"
    signed = await parts.presigner.get_processed(output.key, file_name=name)
    return signed.url, signed.expires_at


ROUTES = (
    Route(
        method="GET",
        path="/upload/{file_id}/download/original",
        handler=original,
        access=Access.IDENTITY,
        summary="Address of the original, while it stands",
        answers=(Answer(200, "Where to fetch it", OriginalAddress),),
        problems=(404, 503),
    ),
    Route(
        method="GET",
        path="/upload/{file_id}/download/processed",
        handler=processed,
        access=Access.IDENTITY,
        summary="Addresses of the outputs",
        answers=(Answer(200, "Where to fetch them", ProcessedAddresses),),
        query=OutputQuery,
        problems=(404, 422, 503),
    ),
)
