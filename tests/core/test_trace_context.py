"""What is a trace's context, and what is ignored as if it were not there."""

from __future__ import annotations

import pytest

from tests.support.spans import CALLERS, SPAN, TRACE
from vproc.core.trace_context import first_traceparent, read_traceparent


def test_a_context_of_the_standard_is_read() -> None:
    assert read_traceparent(CALLERS) == CALLERS
    assert read_traceparent(CALLERS[:-2] + "00") == CALLERS[:-2] + "00"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        CALLERS.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f" {CALLERS}",
        f"{CALLERS}\n",
        "x" * 10_000,
    ],
)
def test_anything_else_is_none(text: str | None) -> None:
    assert read_traceparent(text) is None
    assert first_traceparent({"traceparent": text or ""}) is None


def test_the_first_carrier_that_has_one_counts() -> None:
    """By the header's name, or by that of an object's metadata; what is none is passed over."""
    other = CALLERS.replace(SPAN, "1" * 16)
    assert first_traceparent({}, {"vproc-traceparent": CALLERS}, {"traceparent": other}) == CALLERS
    assert first_traceparent({"traceparent": "none"}, {"traceparent": other}) == other
    assert first_traceparent({}, {}) is None
