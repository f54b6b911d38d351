"""Which parts may be joined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.parts import LEAST_PART_BYTES, joined_bytes

STANDING = {1: ("a", LEAST_PART_BYTES), 2: ("b", LEAST_PART_BYTES - 1), 4: ("d", 1)}


@pytest.mark.parametrize(
    ("named", "size_bytes"),
    [
        ([(1, "a")], LEAST_PART_BYTES),
        ([(1, '"a"'), (2, "b")], 2 * LEAST_PART_BYTES - 1),
        ([(1, "a"), (4, "d")], LEAST_PART_BYTES + 1),
        ([(4, "d")], 1),
    ],
)
def test_the_length_is_that_of_the_parts_that_are_named(named: list[tuple[int, str]], size_bytes: int) -> None:
    assert joined_bytes(named, STANDING) == size_bytes


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ([], "one at least"),
        ([(2, "b"), (1, "a")], "ascending"),
        ([(1, "a"), (1, "a")], "once"),
        ([(0, "a")], "got 0"),
        ([(3, "c")], "part 3 was not uploaded"),
        ([(1, "b")], "part 1 has another ETag"),
        ([(2, "b"), (4, "d")], "part 2 has 5242879 bytes"),
    ],
)
def test_what_cannot_be_joined_is_said(named: list[tuple[int, str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        joined_bytes(named, STANDING)


@given(st.dictionaries(st.integers(1, 10_000), st.integers(LEAST_PART_BYTES, 5 * 1024**3), min_size=1))
def test_all_that_stands_may_be_joined_where_each_is_large_enough(sizes: dict[int, int]) -> None:
    standing = {number: (str(number), size) for number, size in sizes.items()}
    assert joined_bytes([(number, str(number)) for number in sorted(sizes)], standing) == sum(sizes.values())
