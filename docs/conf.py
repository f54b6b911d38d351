"""The site that `make docs` builds of the pages in docs/ and of those beside it, by Sphinx with MyST and Furo.

The tree's own folder is the source, so that each link is the one that works in a checkout. The navigation is what the map,
docs/index.md, names; a page that it does not name is a warning, and every warning ends the build.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import SphinxError

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CHANGELOG.md", "SECURITY.md", "bench", "docs")
MAPS = ("docs/index", "docs/decisions/README")

project = "vproc"
root_doc = "docs/index"
extensions = ["myst_parser"]
# Anchors as code hosts make them, for headings of every depth.
myst_heading_anchors = 6
include_patterns = ["README.md", "CHANGELOG.md", "SECURITY.md", "bench/RESULTS.md", "docs/**.md"]
exclude_patterns = [path.name for path in ROOT.iterdir() if path.name not in PAGES]
html_theme = "furo"
html_title = "vproc"
html_show_sourcelink = False
html_show_copyright = False
# What the pages say is shown to the letter.
smartquotes = False
html_copy_source = False
# The map is two folders down; who asks for the site's address is sent there.
templates_path = ["_templates"]
html_additional_pages = {"index": "to-the-map.html"}
# Blocks of these are shown as they are: no lexer takes an ellipsis, or the languages are not known to it.
suppress_warnings = ["misc.highlighting_failure"]

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\.md\)")
_FROM_ELSEWHERE = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"'](?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=[\"'](?:stylesheet|preload|icon|preconnect))[^>]*\bhref=[\"'](?:https?:)?//"
    r"|@import\s+(?:url\()?[\"']?(?:https?:)?//|\burl\([\"']?(?:https?:)?//"
)


def add_navigation(_app: Sphinx, name: str, text: list[str]) -> None:
    """A map's links, section by section, are the navigation below it: each page once, where it is named first."""
    if name not in MAPS:
        return
    seen: set[str] = set()
    for section in re.split(r"^## ", text[0], flags=re.MULTILINE):
        heading = section.partition("\n")[0]
        caption = "" if heading.startswith("# ") else f":caption: {heading}\n"
        entries = []
        for title, page in _LINK.findall(section):
            if page not in seen:
                seen.add(page)
                # A page has its own title there; those beside docs/ have none that says what they are.
                entries.append(f"{title[0].upper()}{title[1:]} <{page}>" if page.startswith("..") else page)
        if entries:
            text[0] += f"\n```{{toctree}}\n:hidden:\n{caption}\n" + "\n".join(entries) + "\n```\n"


def refuse_other_hosts(app: Sphinx, failed: Exception | None) -> None:
    """No page may load anything from another host."""
    if failed is not None:
        return
    for file in Path(app.outdir).rglob("*"):
        if file.suffix in {".html", ".css"} and (found := _FROM_ELSEWHERE.search(file.read_text())):
            raise SphinxError(f"{file}: {found[0]!r} would ask another host")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", refuse_other_hosts)
