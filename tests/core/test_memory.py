"""How much memory an ffmpeg is given: never less than twice what was measured, and little for little pictures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.ladder import Rung
from vproc.core.memory import GIB, LEAST_ADDRESS_BYTES, LEAST_DATA_BYTES, MIB, Pictures, pictures_of

SIZES = {"360": (640, 360), "1080": (1920, 1080), "4k": (4096, 2160), "8k": (8192, 4320)}


def rung(width: int, height: int) -> Rung:
    return Rung(f"v{height}", width, height, 23.0, 5_000_000, 10_000_000)


LADDER = (rung(1920, 1080), rung(1280, 720), rung(640, 360))


def of(size: str, *rungs: Rung, bits: int = 8, encoder: str = "libx264", deep: bool = False) -> Pictures:
    width, height = SIZES[size]
    return pictures_of(width, height, bits, rungs, encoder=encoder, deep=deep)


@pytest.mark.parametrize(
    ("what", "threads", "cores", "data_mib", "address_mib"),
    [
        (of("360", rung(640, 360)), None, 2, 280, 1354),
        (of("360", rung(640, 360)), 64, 2, 1548, 2677),
        (of("1080", *LADDER), None, 2, 963, 1976),
        (of("1080", *LADDER), 16, 2, 2241, 4246),
        (of("1080", *LADDER), 64, 2, 6124, 7149),
        (of("4k", *LADDER), None, 2, 970, 1982),
        (of("8k", *LADDER), None, 2, 1623, 2580),
        (of("8k", *LADDER), 16, 2, 3813, 5328),
        (of("8k", *LADDER, bits=10), None, 2, 1951, 3130),
        (of("8k", *LADDER, bits=10), 16, 2, 4189, 5367),
        (of("8k", rung(8192, 4320)), None, 2, 4200, 4897),
        (of("8k", rung(8192, 4320), encoder="libx265"), None, 2, 5400, 6546),
        (of("1080", *LADDER, encoder="libsvtav1"), None, 2, 1788, 2812),
        (of("1080", *LADDER, encoder="libsvtav1"), 64, 2, 6996, 7832),
    ],
)
def test_an_honest_file_has_twice_what_it_was_seen_to_take(
    what: Pictures, threads: int | None, cores: int, data_mib: int, address_mib: int
) -> None:
    """Measured with ffmpeg 5.1, 8.1 and 9.0, the largest of them: docs/decisions/0021-memory-of-a-child.md."""
    memory = what.memory(threads=threads, cores=cores)
    assert memory.data_bytes is not None
    assert memory.data_bytes >= 2 * data_mib * MIB
    assert memory.address_bytes >= 1.9 * address_mib * MIB


def test_a_small_picture_has_little() -> None:
    """Nine frames that say they last for days fill a gigabyte, not four."""
    memory = pictures_of(96, 64, 8, (rung(96, 64),), encoder="libx264", deep=False).memory(threads=None, cores=2)
    assert LEAST_DATA_BYTES <= (memory.data_bytes or 0) < 1.1 * GIB
    assert memory.address_bytes == LEAST_ADDRESS_BYTES


def test_ten_bits_take_twice_as_many_bytes() -> None:
    plain, deep = of("8k", rung(1920, 1080)), of("8k", rung(1920, 1080), bits=10, deep=True)
    assert deep.source_bytes == 2 * plain.source_bytes
    assert deep.rungs == ((1920 * 1080 * 3, 1080),)
    assert plain.rungs == ((1920 * 1080 * 3 // 2, 1080),)


@given(
    px=st.integers(2, 8192 * 4320),
    heights=st.lists(st.integers(2, 4320), max_size=6),
    threads=st.one_of(st.none(), st.integers(1, 128)),
    cores=st.integers(1, 256),
    svt=st.booleans(),
)
def test_more_never_takes_less(px: int, heights: list[int], threads: int | None, cores: int, *, svt: bool) -> None:
    rungs = tuple((height * height * 2, height) for height in heights)
    memory = Pictures(px * 3, rungs, svt).memory(threads=threads, cores=cores)
    more = Pictures(px * 6, (*rungs, (4096, 64)), svt).memory(threads=threads, cores=cores + 1)
    assert LEAST_DATA_BYTES <= (memory.data_bytes or 0) <= (more.data_bytes or 0)
    assert LEAST_ADDRESS_BYTES <= memory.address_bytes <= more.address_bytes
    assert memory.address_bytes > (memory.data_bytes or 0)
