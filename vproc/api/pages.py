"""What a browser gets: the page, its files, the API's description. Every byte comes from here, and the policy says so."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from anyio import to_thread

from vproc.api.docs import docs_page
from vproc.api.parts import Limits, Parts, parts_of
from vproc.api.route import HTML, JSON, PLAIN_TEXT, Access, Answer, AnswerHeader, Route
from vproc.core.keys import ALLOWED_SUFFIXES
from vproc.errors import NotFoundError, UnavailableError

_GZIP = "gzip"
_SVG = "image/svg+xml"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".html": HTML,
    ".svg": _SVG,
    ".txt": PLAIN_TEXT,
}
_INDEX, _OPS = "index.html", "ops.html"
_CONFIG = '<meta name="vproc" content="{}">'
"""Where the page is told what it may offer: a script inline would need another policy, and a request more another wait."""


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent. ``packed`` holds it by content coding, once somebody has asked for one."""

    body: bytes
    content_type: str
    etag: str
    packed: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, body: bytes, content_type: str) -> Page:
        """A file and the digest of its bytes."""
        return cls(body, content_type, hashlib.sha256(body).hexdigest()[:32])

    async def gzipped(self) -> bytes:
        """The file in gzip, made at the first call: a start does not wait for files that nobody may read."""
        if _GZIP not in self.packed:
            self.packed[_GZIP] = await to_thread.run_sync(partial(gzip.compress, self.body, mtime=0))
        return self.packed[_GZIP]


@dataclass(frozen=True, slots=True)
class Pages:
    """All files, read once at the start. ``assets`` and ``swagger`` (Swagger UI's) by name."""

    index: Page
    ops: Page
    docs: Page
    openapi: Page
    assets: Mapping[str, Page]
    swagger: Mapping[str, Page]


PAGES = web.AppKey("pages", Pages)


def load_pages(document: dict[str, Any], limits: Limits, *, hosted: bool = False) -> Pages:
    """The package's own files under ``vproc/web``, and the two that are made of the API's document.

    ``hosted``: people may log in at the user pool's own pages too.
    """
    web_folder = files("vproc").joinpath("web")
    assets = _files_of(web_folder) | _files_of(web_folder.joinpath("hls"))
    return Pages(
        index=_told(assets.pop(_INDEX), limits, hosted=hosted),
        ops=_told(assets.pop(_OPS), limits, hosted=hosted),
        docs=Page.of(docs_page(document).encode(), HTML),
        openapi=Page.of(json.dumps(document, ensure_ascii=False).encode(), JSON),
        assets=assets,
        swagger=_files_of(web_folder.joinpath("swagger")),
    )


def _told(page: Page, limits: Limits, *, hosted: bool) -> Page:
    """A page, told what it may offer. Nothing of it is a secret: whoever is not known yet gets it too."""
    config = {
        "auth": limits.auth,
        "hosted": hosted,
        "profiles": tuple(limits.profiles),
        "profile": limits.default_profile,
        "suffixes": ALLOWED_SUFFIXES,
        "max_upload_bytes": limits.max_upload_bytes,
    }
    told = _CONFIG.replace("{}", html.escape(json.dumps(config)))
    return Page.of(page.body.decode().replace(_CONFIG, told).encode(), HTML)


def _files_of(folder: Traversable) -> dict[str, Page]:
    """Those of a type that a browser takes."""
    found = {}
    for entry in folder.iterdir():
        if content_type := _TYPES.get(entry.name[entry.name.rfind(".") :]):
            found[entry.name] = Page.of(entry.read_bytes(), content_type)
    return found


async def index(request: web.Request) -> web.Response:
    """The page. Its policy names the store, which takes the upload and gives the media, and what hls.js plays by: media that it
    feeds (``blob:``) and the empty track that captions are put in (``data:``)."""
    sources = " ".join(["'self'", *await _store_origins(parts_of(request))])
    policy = _policy(f"script-src 'self'; connect-src {sources}; img-src {sources}; media-src {sources} blob: data:")
    return await _send(request, request.app[PAGES].index, policy)


async def ops(request: web.Request) -> web.Response:
    """The operator's view: a shell, which asks as whoever opened it."""
    policy = _policy("script-src 'self'; connect-src 'self'; img-src 'self'")
    return await _send(request, request.app[PAGES].ops, policy)


async def docs(request: web.Request) -> web.Response:
    """The API for people."""
    policy = _policy("script-src 'self'; connect-src 'self'; img-src 'self' data:")
    return await _send(request, request.app[PAGES].docs, policy)


async def openapi(request: web.Request) -> web.Response:
    """The API for programs."""
    return await _send(request, request.app[PAGES].openapi)


async def asset(request: web.Request) -> web.Response:
    """A file of the page."""
    return await _send_named(request, request.app[PAGES].assets)


async def swagger(request: web.Request) -> web.Response:
    """A file of Swagger UI."""
    return await _send_named(request, request.app[PAGES].swagger)


async def _send_named(request: web.Request, pages: Mapping[str, Page]) -> web.Response:
    page = pages.get(request.match_info["name"])
    if page is None:
        raise NotFoundError("There is no such file.")
    return await _send(request, page)


def _policy(more: str) -> str:
    rules = ["default-src 'none'", "style-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    return "; ".join([*rules, more])


async def _send(request: web.Request, page: Page, policy: str | None = None) -> web.Response:
    coded = page.content_type != _SVG and _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    etag = f"{page.etag}-gz" if coded else page.etag  # RFC 9110, section 8.8.3: another coding is another representation
    headers = {"Cache-Control": "no-cache", "ETag": f'"{etag}"', hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if policy is not None:
        headers["Content-Security-Policy"] = policy
    if any(tag.value in {etag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if coded:
        headers[hdrs.CONTENT_ENCODING] = _GZIP
    body = await page.gzipped() if coded else page.body
    return web.Response(body=body, headers=headers, content_type=page.content_type, charset="utf-8")


def _takes_gzip(accepted: str) -> bool:
    """Whether ``Accept-Encoding`` names gzip, and not with a weight of nothing (RFC 9110, section 12.5.3)."""
    for offer in accepted.lower().split(","):
        coding, _, weight = offer.partition(";")
        if coding.strip() == _GZIP:
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight)
    return False


async def _store_origins(parts: Parts) -> list[str]:
    """Where uploads go and outputs come from, as signed addresses say it: the only place that knows is the presigner."""
    urls = [parts.limits.public_url] if parts.limits.public_url else []
    try:
        urls.append((await parts.presigner.put("-", content_type="video/mp4", size_bytes=None, metadata={})).url)
        urls.append((await parts.presigner.get_processed("-")).url)
    except UnavailableError:
        pass  # The page is shown all the same; what it asks of the API will say what is away.
    split = [urlsplit(url) for url in urls]
    return list(dict.fromkeys(f"{url.scheme}://{url.netloc}" for url in split))


def _open(path: str, handler: Any, summary: str, *answers: Answer, problems: tuple[int, ...] = ()) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=Access.OPEN,
        summary=summary,
        answers=answers,
        tag="pages",
        problems=problems,
    )


_ETAG = (AnswerHeader("ETag", "Of this version of the file"),)
_UNCHANGED = Answer(304, "The caller's copy is still good", headers=_ETAG)
_PAGE = Answer(200, "A page", media_types=(HTML,), headers=_ETAG)
_FILE = Answer(200, "The file", media_types=tuple(_TYPES.values()), headers=_ETAG)

ROUTES = (
    _open("/", index, "The page: upload, watch, fetch", _PAGE, _UNCHANGED),
    _open("/ops", ops, "The operator's view, for admins", _PAGE, _UNCHANGED),
    _open("/assets/{name}", asset, "A file of the page", _FILE, _UNCHANGED, problems=(404,)),
    _open("/openapi.json", openapi, "This document", Answer(200, "OpenAPI 3.1", headers=_ETAG), _UNCHANGED),
    _open("/docs", docs, "This document for people", _PAGE, _UNCHANGED),
    _open("/docs/{name}", swagger, "A file of that page", _FILE, _UNCHANGED, problems=(404,)),
)
