"""How ffmpeg ended: which of our errors its exit code, its last words or our own stop of it means.

An end with 0 proves nothing (a truncated Matroska ends so): the outputs are judged by `core.verify`.
"""

from __future__ import annotations

import re

from vproc.errors import EncoderError, ErrorCode, JobError, RejectedError, TransientError, UnavailableError

_SHELL_SIGNAL = 128
_SIGKILL = 9
_LIMITS = {
    24: "the encode used more processor time than a job may",  # SIGXCPU
    25: "an output grew over the largest file that a job may write",  # SIGXFSZ
}
_CRASHES = {4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 11: "SIGSEGV", 31: "SIGSYS"}
_TOO_MANY_ERRORS = 69
"""More than two thirds of the packets could not be decoded (ffmpeg's ``-max_error_rate``)."""
_NO_MEMORY_CODE = 256 - 12
"""ENOMEM, as ffmpeg 7 and newer end with the number of their error. They may say no more than that nothing was written."""

_DISK_FULL = ("No space left on device", "Disk quota exceeded")
_NO_MEMORY = ("Cannot allocate memory", "Error allocating", "malloc of size")
_UNSUPPORTED = ("not on whitelist", "Unknown decoder", "Decoder not found", "Decoder (codec none) not found", "no decoder found")
_BAD_INPUT = (
    "Invalid data found when processing input",
    "moov atom not found",
    "File ended prematurely",
    "partial file",
    "error while decoding",
    "Error while decoding stream",
    "Output file is empty",
    "Output file does not contain any stream",
    "Truncating packet",
)
_ADDRESS = re.compile(r"^\[[^\]]*\]\s*")
_PATH = re.compile(r"file:\S+?(?=:?\s|$)")


def encoder_failure(*, returncode: int, stderr: str, stopped: str | None) -> JobError | None:
    """The error that an ended encode stands for; None for an end with 0 that nobody forced.

    ``stopped``: why the runner ended it (``wall``, ``stall``, ``directory``, ``stdout``), which counts before the exit code.
    """
    if stopped is not None:
        return _stopped(stopped)
    if returncode == 0:
        return None
    if _says(stderr, _DISK_FULL):
        return UnavailableError("no space left where the job works", code=ErrorCode.OUT_OF_DISK)
    signal = -returncode if returncode < 0 else returncode - _SHELL_SIGNAL
    if returncode == _NO_MEMORY_CODE:
        signal = _SIGKILL
    return _signalled(signal, stderr) or _refused(returncode, stderr)


def _signalled(signal: int, stderr: str) -> JobError | None:
    said = last_words(stderr)
    if signal in _LIMITS:
        return RejectedError(ErrorCode.LIMIT_EXCEEDED, _LIMITS[signal])
    if signal == _SIGKILL or _says(stderr, _NO_MEMORY):
        return EncoderError(ErrorCode.OUT_OF_MEMORY, f"the encoder ran out of memory or was killed ({said})")
    if signal in _CRASHES:
        return EncoderError(ErrorCode.ENCODER_FAILED, f"the encoder crashed: {_CRASHES[signal]} ({said})")
    return None


def _refused(returncode: int, stderr: str) -> JobError:
    said = last_words(stderr)
    if _says(stderr, _UNSUPPORTED):
        return RejectedError(ErrorCode.UNSUPPORTED_MEDIA, f"the file holds a format or codec that is not taken ({said})")
    if returncode == _TOO_MANY_ERRORS or _says(stderr, _BAD_INPUT):
        return RejectedError(ErrorCode.CORRUPT_MEDIA, f"the file cannot be decoded ({said})")
    return TransientError(ErrorCode.ENCODER_FAILED, f"the encoder ended with {returncode} ({said})")


def input_damaged(stderr: str) -> bool:
    """Whether ffmpeg went on, but said that the input is damaged or ends early."""
    return _says(stderr, _BAD_INPUT)


def last_words(stderr: str) -> str:
    """The last line of standard error that says something, without our paths and its addresses; 200 characters at most."""
    line = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    return _PATH.sub("the file", _ADDRESS.sub("", line))[:200] or "it said nothing"


def _stopped(reason: str) -> JobError:
    match reason:
        case "wall":
            return RejectedError(ErrorCode.TIMEOUT, "the encode took longer than a job may")
        case "stall":
            return TransientError(ErrorCode.STALLED, "the encoder made no progress")
        case "directory":
            return RejectedError(ErrorCode.LIMIT_EXCEEDED, "the outputs grew over what a job may write")
    return RejectedError(ErrorCode.LIMIT_EXCEEDED, f"the encoder was stopped: {reason}")


def _says(stderr: str, phrases: tuple[str, ...]) -> bool:
    lowered = stderr.lower()
    return any(phrase.lower() in lowered for phrase in phrases)
