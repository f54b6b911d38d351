"""What the site of the documentation relies on, looked at without its generator: `make docs` fails for the same."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.documents import anchor, pages
from tests.support.source import ROOT, committed

DOCS = ROOT / "docs"
MAPS = (DOCS / "index.md", DOCS / "decisions" / "README.md")
MOST_PICTURE_BYTES = 150_000
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[tuple[bool, str]]:
    """Of each link of a page outside its blocks: whether it is a picture, and where it leads."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    return [(bool(mark), target) for mark, target in LINK.findall(text)]


def anchors(page: Path) -> list[str]:
    return [anchor(heading) for heading in re.findall(r"^#{1,6} +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)]


def is_elsewhere(target: str) -> bool:
    return re.match(r"[a-z]+:", target) is not None


@pytest.fixture(params=pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    found = request.param
    assert isinstance(found, Path)
    return found


def test_every_page_is_in_the_navigation() -> None:
    """The maps name every page, and nothing that is not there. The navigation is made of them."""
    named = {(file.parent / target.partition("#")[0]).resolve() for file in MAPS for _, target in links(file)}
    assert {file for file in pages() if DOCS in file.parents} - named == {MAPS[0]}


def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """To a file that is committed, and to a heading that it has; never by an absolute path."""
    known = set(committed())
    for picture, target in links(page):
        if is_elsewhere(target):
            assert not picture, f"{target}: the page would ask another host"
            continue
        assert not target.startswith("/"), target
        path, _, heading = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there in known or (there.is_dir() and any(there in file.parents for file in known)), target
        if heading:
            assert heading in anchors(there), target


def test_every_page_has_one_title_and_no_heading_twice(page: Path) -> None:
    """Two headings of one name have anchors that differ from one renderer to the next."""
    text = FENCE.sub("", page.read_text())
    assert re.match(r"# \S", text)
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert {heading for heading, times in Counter(anchors(page)).items() if times > 1} == set()


def test_pictures_are_small_and_shown() -> None:
    """Each picture of docs/ stands on a page, with words for who does not see it."""
    pictures = {file for file in committed() if DOCS in file.parents and file.suffix in {".png", ".svg", ".jpg"}}
    shown = {(file.parent / target).resolve() for file in pages() for picture, target in links(file) if picture}
    assert pictures == {file for file in shown if DOCS in file.parents}
    assert {file.name: file.stat().st_size for file in pictures if file.stat().st_size > MOST_PICTURE_BYTES} == {}
    assert [file.name for file in pages() if re.search(r"!\[\]\(", file.read_text())] == []


def test_pages_hold_no_markup_that_one_renderer_alone_knows() -> None:
    """They read the same in a checkout as in the site: no directives, no raw HTML but a break."""
    for file in pages():
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", file.read_text()))
        assert re.findall(r"^:::|^\{[a-z]+\}|^!!! ", text, re.MULTILINE) == [], file
        assert re.findall(r"</?(?!https?:|br>)[a-z]+[^>\n]*>", text) == [], file
