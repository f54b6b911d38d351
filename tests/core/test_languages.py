"""Languages as containers tell them and as players know them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.languages import bcp47, language_code


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ("eng", "eng"), ("ENG", "eng"), (" de ", "de"), ("pt-BR", "pt"), ("zh_Hant", "zh"), ("und", None), ("mul", None),
        ("", None), ("english", None), ("e", None), ("; rm -rf", None), ("été", None), (7, None), (None, None), ("en\n", "en"),
    ],
)  # fmt: skip
def test_a_language_is_two_or_three_letters_or_nothing(told: object, code: str | None) -> None:
    assert language_code(told) == code


@pytest.mark.parametrize(
    ("code", "tag"),
    [("eng", "en"), ("deu", "de"), ("ger", "de"), ("fre", "fr"), ("zho", "zh"), ("chi", "zh"), ("gsw", "gsw"), ("en", "en")],
)
def test_a_tag_is_as_short_as_it_can_be(code: str, tag: str) -> None:
    """RFC 5646, 2.2.1: players compare `en`, and find no `eng`."""
    assert bcp47(code) == tag


@given(st.text(max_size=12))
def test_whatever_a_file_says_the_tag_is_harmless(told: str) -> None:
    code = language_code(told)
    assert code is None or re.fullmatch("[a-z]{2,3}", bcp47(code))


@given(st.from_regex("[a-z]{3}", fullmatch=True))
def test_a_short_tag_stays_as_it_is(code: str) -> None:
    assert bcp47(bcp47(code)) == bcp47(code)
