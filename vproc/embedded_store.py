"""What moto answers otherwise than S3, put right for those who read it as a browser's uploader does, and what
its SQS does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_FORM_ANSWERS = {"200", "201", "204"}
Answer = Callable[..., tuple[Any, dict[str, Any], Any]]


def complete_store() -> None:
    """Have a posted form answered with the object's ETag and address, parts listed under S3's name, and a redrive refused in the
    words of a queue that has none. Once a process."""
    from moto.s3.responses import S3Response  # noqa: PLC0415 - an extra, and heavy
    from moto.sqs.responses import SQSResponse  # noqa: PLC0415 - likewise

    responses: Any = S3Response
    if not hasattr(responses, "completed_by_vproc"):
        responses.completed_by_vproc = True
        responses._bucket_response_post = _with_the_object(responses._bucket_response_post)  # noqa: SLF001 - moto's way
        responses.list_parts = _by_its_name(responses.list_parts)
        if not hasattr(SQSResponse, "start_message_move_task"):
            queues: Any = SQSResponse
            queues.start_message_move_task = _no_move_tasks


def _with_the_object(post: Answer) -> Answer:
    """Uppy 5 waits for ever for the ETag of a form that has none: S3 sends it, and the Location too."""

    def posted(response: Any, request: Any, bucket: str) -> tuple[Any, dict[str, Any], Any]:
        status, headers, body = post(response, request, bucket)
        if str(status) not in _FORM_ANSWERS or response.is_delete_keys():
            return status, headers, body
        key = response.querystring["key"][0]
        told = {"ETag": response.backend.head_object(bucket, key).etag, "Location": f"{request.host_url}{bucket}/{key}"}
        return status, {**headers, **told, **response._get_cors_headers_other()}, body  # noqa: SLF001 - likewise

    return posted


def _by_its_name(listed: Answer) -> Answer:
    """S3's element is ListPartsResult; SDKs take any, Uppy 6 that one only."""

    def named(response: Any) -> tuple[Any, dict[str, Any], Any]:
        status, headers, body = listed(response)
        return status, headers, body.replace("ListPartsResponse", "ListPartsResult")

    return named


def _no_move_tasks(_: Any) -> Any:
    """Moto raises what it does not know through its server, whose traceback looks like a fault of ours."""
    from moto.sqs.exceptions import SQSException  # noqa: PLC0415 - an extra, and heavy

    raise SQSException("AWS.SimpleQueueService.UnsupportedOperation", "Letters are sent back one by one here.")
