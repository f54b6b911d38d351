"""What tracks are called."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import label
from vproc.core.labels import TrackLabel, TrackRole, clean_title, track_names


@pytest.mark.parametrize(
    ("told", "title"),
    [
        ("Director's cut", "Director's cut"),
        ("  two\nlines\t and more ", "two lines and more"),
        ("\u202eevil\u0000\ufeff", "evil"),
        ("日本語", "日本語"),
        ("<script>", "<script>"),
        ("\ud800", None),
        ("   ", None),
        ("", None),
        (None, None),
        (3, None),
    ],
)
def test_a_title_is_one_line_of_text(told: object, title: str | None) -> None:
    """A mark-up stays the text that it is: who shows it escapes it."""
    assert clean_title(told) == title


@given(st.text(st.characters(), max_size=3000))
def test_no_title_is_long_or_holds_what_steers_a_terminal(told: str) -> None:
    title = clean_title(told) or ""
    assert len(title) <= 80
    assert not any(unicodedata.category(letter).startswith("C") for letter in title)
    assert clean_title(title) == (title or None)


def test_a_track_is_called_by_its_title_else_its_language_else_what_it_is() -> None:
    labels = [label("deu", title="Erzähler"), label("deu"), label("deu"), label(), label(), label(None, title="audio")]
    assert track_names(labels, otherwise="audio") == ("Erzähler", "de", "de (2)", "audio", "audio (2)", "audio (3)")


def test_a_made_name_is_not_taken_for_anothers_title() -> None:
    labels = [label(None, title="de"), label(None, title="de (2)"), label("deu")]
    assert track_names(labels, otherwise="audio") == ("de", "de (2)", "de (3)")


@given(st.lists(st.sampled_from(["a", "a (2)", 'a"', "a'", "", None]), max_size=8))
def test_no_two_names_are_alike_and_none_holds_a_quotation_mark(titles: list[str | None]) -> None:
    names = track_names([label(None, title=title) for title in titles], otherwise="audio")
    assert len(set(names)) == len(titles)
    assert all(name and '"' not in name for name in names)


def test_a_label_knows_its_tag_and_its_roles() -> None:
    told = label("ger", TrackRole.DUB)
    assert (told.tag, told.has(TrackRole.DUB), told.has(TrackRole.COMMENT)) == ("de", True, False)
    assert TrackLabel().tag is None
