"""What is asked for with an object: by the message that names it, by the object's own metadata, or by the API before it came."""

from __future__ import annotations

from vproc.core.files import File, ObjectVersion
from vproc.core.notification import JOB_ID, Work
from vproc.core.profile import with_rungs

PROFILE_METADATA = "vproc-profile"
RUNGS_METADATA = "vproc-rungs"
JOB_ID_METADATA = "vproc-job-id"
_MOST_CHARS = 64
_MOST_ID_CHARS = 128


def profile_wanted(work: Work, version: ObjectVersion, known: File | None, *, default: str) -> str:
    """Fixed by the API where it made the file; else the message's, the object's own, or the default. Whether there is such a
    profile, and such rungs, is for whoever takes it."""
    if known is not None and work.file_id is None:
        return known.profile
    told = dict(version.metadata)
    name = work.profile or (known.profile if known else told.get(PROFILE_METADATA, "")[:_MOST_CHARS]) or default
    if work.rungs:
        return with_rungs(name, work.rungs)
    rungs = "" if known is not None or work.profile is not None else told.get(RUNGS_METADATA, "")[:_MOST_CHARS]
    return f"{name}:{rungs}" if rungs and ":" not in name else name


def metadata_given(work: Work, version: ObjectVersion) -> dict[str, str]:
    """The file's metadata, where nobody announced it: the message's, and the client's own id of the job."""
    own = dict(version.metadata).get(JOB_ID_METADATA, "")[:_MOST_ID_CHARS]
    given = {JOB_ID: own} if own else {}
    return given | dict(work.metadata)
