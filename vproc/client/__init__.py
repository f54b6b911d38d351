"""The API's client: presign, upload, follow, list, download. The command line and the demo speak through it, and any
Python program may. It speaks HTTP alone: nothing here prints, reads settings or knows AWS.
"""

from vproc.client.api import DEFAULT_API_URL, ApiClient
from vproc.client.errors import ApiError, ApiUnreachableError, StoreError
from vproc.client.multipart import upload_in_parts
from vproc.client.stream import upload_stream
from vproc.client.values import FileStatus, Output, Upload

__all__ = [
    "DEFAULT_API_URL",
    "ApiClient",
    "ApiError",
    "ApiUnreachableError",
    "FileStatus",
    "Output",
    "StoreError",
    "Upload",
    "upload_in_parts",
    "upload_stream",
]
