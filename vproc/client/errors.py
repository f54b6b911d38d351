"""What the client raises. Each message is one line for a person, with the remedy where there is one.

ApiError                    the API refused: `detail` in its words, `status` HTTP's
├── ApiUnreachableError     nothing answers there
└── StoreError              the object store refused an upload or a download
    ├── AddressRefusedError a presigned address does not hold (any more): ask the API for a new one
    ├── StoreAwayError      the network or the store failed, which may pass: try again
    └── UploadGoneError     an upload in parts is known no more: begin anew
"""

from __future__ import annotations

from vproc.errors import VprocError


class ApiError(VprocError):
    """The API refused, in words. ``status`` is HTTP's; None where there was no answer to take it from. ``retry_after_s``: when
    it may go well, where the answer told."""

    def __init__(self, detail: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.retry_after_s = retry_after_s


class ApiUnreachableError(ApiError):
    """Nothing answers at the API's address. Start the daemon, or give the right address. ``nobody``: there was not even a
    connection."""

    def __init__(self, detail: str, *, nobody: bool = False) -> None:
        super().__init__(detail)
        self.nobody = nobody


class StoreError(ApiError):
    """The object store refused an upload or a download, or what it gave is not what it should be."""


class AddressRefusedError(StoreError):
    """A presigned address does not hold, most often because its time is over. Ask the API for a new one."""


class StoreAwayError(StoreError):
    """The network or the object store failed in a way that may pass. Try again a little later."""


class UploadGoneError(StoreError):
    """An upload in parts was given up, joined or forgotten: nothing more can be sent to it. Begin anew."""
