"""What the operator's view asks: all at a glance, the dead letters, and their redrive. For admins."""

from __future__ import annotations

from aiohttp import web

from vproc.api.body import read_body
from vproc.api.desk import MOST_LETTERS
from vproc.api.ops_models import (
    OpsFailure,
    OpsHour,
    OpsJob,
    OpsLetter,
    OpsLetters,
    OpsProcess,
    OpsQueue,
    OpsRedriven,
    OpsState,
    OpsWorker,
    RedriveRequest,
)
from vproc.api.parts import parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, Route
from vproc.errors import ServiceUnavailableError


async def state(request: web.Request) -> web.Response:
    """Everything at a glance."""
    parts = parts_of(request)
    seen, queue, worker = await parts.desk.overview(), await parts.desk.queue(), parts.desk.worker()
    process = OpsProcess(
        version=parts.versions.vproc,
        ffmpeg=parts.versions.ffmpeg,
        schema_version=seen.schema_version,
        uptime_s=round(parts.desk.uptime_s, 3),
    )
    told = OpsState(
        read_at=seen.read_at,
        process=process,
        queue=OpsQueue.model_validate(queue),
        worker=OpsWorker.model_validate(worker) if worker is not None else None,
        running=seen.running,
        jobs=tuple(OpsJob.model_validate(job) for job in seen.jobs),
        hours=tuple(OpsHour.model_validate(hour) for hour in seen.hours),
        failures=tuple(OpsFailure.model_validate(failure) for failure in seen.failures),
    )
    return reply(told)


async def dead_letters(request: web.Request) -> web.Response:
    """What lies among the dead letters, and why."""
    letters = await parts_of(request).desk.letters()
    told = OpsLetters(letters=tuple(OpsLetter.model_validate(letter) for letter in letters), more=len(letters) >= MOST_LETTERS)
    return reply(told)


async def redrive(request: web.Request) -> web.Response:
    """Send dead letters to the queue again, as ``vproc dlq redrive`` does."""
    wanted = await read_body(request, RedriveRequest)
    redriven = await parts_of(request).desk.redrive(wanted.ids or ())
    if redriven is None:
        return reply(OpsRedriven(redriven=None, by=None), status=202)
    if redriven.failure is not None:
        raise ServiceUnavailableError(f"SQS stopped after about {redriven.letters} letters: {redriven.failure}.")
    return reply(OpsRedriven(redriven=redriven.letters, by=redriven.by))


ROUTES = (
    Route(
        method="GET",
        path="/ops/state",
        handler=state,
        access=Access.ADMIN,
        summary="Queue, jobs, the last hours and failures at a glance",
        description="The catalog's part is two seconds old at most, the queue's a minute.",
        answers=(Answer(200, "As it stands", OpsState),),
        tag="operations",
        problems=(503,),
        quiet=True,
    ),
    Route(
        method="GET",
        path="/ops/dead-letters",
        handler=dead_letters,
        access=Access.ADMIN,
        summary="The dead letters and their reasons",
        description="While they are looked at they are hidden from others, for a second or two.",
        answers=(Answer(200, "They are these", OpsLetters),),
        tag="operations",
        problems=(404, 503),
    ),
    Route(
        method="POST",
        path="/ops/dead-letters/redrive",
        handler=redrive,
        access=Access.ADMIN,
        summary="Send dead letters to the queue again",
        description="Their files start anew, with no attempt counted.",
        answers=(
            Answer(200, "They are sent", OpsRedriven),
            Answer(202, "It takes longer: SQS goes on by itself, what was done by hand is asked for again", OpsRedriven),
        ),
        tag="operations",
        body=RedriveRequest,
        problems=(400, 404, 408, 413, 415, 422, 503),
        audit="letters.redrive",
    ),
)
