"""Playback out of a bucket that nobody may read: playlists come from here, media by redirects to addresses that are signed for a
moment.

A player asks for ``/play/{token}/master.m3u8`` and then for what stands in it, by relative addresses: so everything it asks for
has the token before it, and no header is needed. Media never pass through here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from urllib.parse import quote

from aiohttp import web

from vproc.api.access import own_file
from vproc.api.downloads import committed_manifest
from vproc.api.models import Playback
from vproc.api.parts import Parts, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, AnswerHeader, Route
from vproc.core.keys import file_prefix
from vproc.core.manifest import OutputKind
from vproc.core.play_tokens import SECRET_BYTES, make_play_token, read_play_token
from vproc.errors import NotFoundError

PLAY_S = 12 * 3600
"""Longer than any film, with a pause for dinner."""
_SIGNS = "play"
"""The name of the secret."""
_TEXTS = {".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".vtt": "text/vtt"}
"""What names other files, or is small: it comes from here."""
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}", re.ASCII)
_TEXT_FRESH_S = 3600
_REDIRECT_SHARE = 0.5
"""Of a signed address's life: for so long a browser may go by what it was told."""
_GONE = "There is nothing to play at this address: its token is wrong or has expired, or the file has none of that name."


async def playback(request: web.Request) -> web.Response:
    """Addresses for a player."""
    parts = parts_of(request)
    file = await own_file(request)
    manifest = await committed_manifest(parts, file)
    names = {entry.kind: PurePosixPath(entry.key).name for entry in manifest.entry_points}
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=PLAY_S)
    base = f"/play/{make_play_token(file.file_id, expires_at, await parts.secret(_SIGNS, SECRET_BYTES))}"

    def address(kind: OutputKind) -> str | None:
        return f"{base}/{names[kind]}" if kind in names else None

    answer = Playback(
        hls=address(OutputKind.HLS), dash=address(OutputKind.DASH), poster=address(OutputKind.POSTER), expires_at=expires_at
    )
    return reply(answer)


async def play(request: web.Request) -> web.Response:
    """A playlist, or where its media are at the moment."""
    parts = parts_of(request)
    secret = await parts.secret(_SIGNS, SECRET_BYTES)
    file_id = read_play_token(request.match_info["token"], secret, now=datetime.now(UTC))
    path = request.match_info["path"]
    # The token alone would outlive the file by hours: signed addresses, CDN and caches know nothing of a deletion.
    if file_id is None or not _PATH.fullmatch(path) or await parts.catalog.get(file_id) is None:
        raise NotFoundError(_GONE)
    key = file_prefix(file_id) + path
    if (content_type := _TEXTS.get(PurePosixPath(path).suffix)) is not None:
        return await _text(parts, key, content_type)
    return await _redirect(parts, key)


async def _text(parts: Parts, key: str, content_type: str) -> web.Response:
    body = await parts.processed.get(key)
    if body is None:
        raise NotFoundError(_GONE)
    headers = {"Cache-Control": f"private, max-age={_TEXT_FRESH_S}", "Access-Control-Allow-Origin": "*"}
    return web.Response(body=body, content_type=content_type, headers=headers)


async def _redirect(parts: Parts, key: str) -> web.Response:
    if parts.limits.public_url is not None:
        url, fresh_s = f"{parts.limits.public_url.rstrip('/')}/{quote(key)}", _TEXT_FRESH_S
    else:
        signed = await parts.presigner.get_processed(key)
        url, fresh_s = signed.url, int((signed.expires_at - datetime.now(UTC)).total_seconds() * _REDIRECT_SHARE)
    headers = {"Location": url, "Cache-Control": f"private, max-age={max(0, fresh_s)}", "Access-Control-Allow-Origin": "*"}
    return web.Response(status=302, headers=headers)


ROUTES = (
    Route(
        method="POST",
        path="/upload/{file_id}/playback",
        handler=playback,
        access=Access.IDENTITY,
        summary="Addresses for a player, from a bucket that nobody may read",
        description="Relative to this API, good for twelve hours, for whoever has them. `null` where the profile makes none.",
        answers=(Answer(200, "What to play", Playback),),
        tag="playback",
        audit="playback.grant",
        problems=(404, 503),
    ),
    Route(
        method="GET",
        path="/play/{token}/{path:.+}",
        handler=play,
        access=Access.OPEN,
        summary="A playlist, or a redirect to its media",
        answers=(
            Answer(200, "A playlist or captions", media_types=tuple(_TEXTS.values())),
            Answer(302, "Where the media are", headers=(AnswerHeader("Location", "Good for a while"),)),
        ),
        tag="playback",
        problems=(404, 503),
        quiet=True,
    ),
)
