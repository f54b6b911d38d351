"""The rules of an upload in parts: which may be joined. Values in, a length out.

Source: S3 User Guide, "Amazon S3 multipart upload limits".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_PARTS = 10_000
LEAST_PART_BYTES = 5 * 1024 * 1024
"""Of every part but the last."""


def joined_bytes(named: Sequence[tuple[int, str]], standing: Mapping[int, tuple[str, int]]) -> int:
    """The length of the object that the named parts (number, ETag) make of those that stand (ETag, bytes) by number.

    Raises `ValueError` with a sentence for parts that cannot be joined.
    """
    if not named:
        raise ValueError("parts: takes one at least.")
    before = 0
    for number, etag in named:
        if number <= before:
            raise ValueError(f"parts: takes each PartNumber once and in ascending order (got {number} after {before}).")
        before = number
        if number not in standing:
            raise ValueError(f"parts: part {number} was not uploaded.")
        if etag.strip('"') != standing[number][0]:
            raise ValueError(f"parts: part {number} has another ETag than was uploaded last: list the parts.")
    sizes_bytes = [standing[number][1] for number, _ in named]
    for (number, _), size_bytes in list(zip(named, sizes_bytes, strict=True))[:-1]:
        if size_bytes < LEAST_PART_BYTES:
            raise ValueError(f"parts: part {number} has {size_bytes} bytes, and every part but the last takes 5 MiB or more.")
    return sum(sizes_bytes)
