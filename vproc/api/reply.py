"""Answers made of models."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from pydantic import BaseModel

from vproc.api.route import JSON


def reply(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The model as JSON."""
    return web.Response(status=status, text=model.model_dump_json(by_alias=True), headers=headers, content_type=JSON)
