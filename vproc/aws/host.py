"""What speaks for the host that this process runs on: found by its environment, and asked nothing where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import anyio.to_thread

from vproc.aws.ecs_agent import AGENT_VARIABLE, EcsAgent
from vproc.aws.instance import InstanceMetadata, metadata_endpoint

ANSWERS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Host:
    """None for what there is not."""

    notices: InstanceMetadata | None
    protection: EcsAgent | None


@asynccontextmanager
async def open_host(environ: Mapping[str, str]) -> AsyncIterator[Host]:
    """Find the host. Nothing is asked yet."""
    endpoint = await anyio.to_thread.run_sync(metadata_endpoint, environ)
    agent = environ.get(AGENT_VARIABLE)
    # Never through a proxy: it would answer for its own host.
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Host(
            notices=InstanceMetadata(session, endpoint) if endpoint else None,
            protection=EcsAgent(session, agent) if agent else None,
        )
