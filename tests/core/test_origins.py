"""Origins of pages."""

from __future__ import annotations

import pytest

from vproc.core.origins import parse_origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        ("https://a.example", {"https://a.example"}),
        (" https://a.example , http://localhost:3000,", {"https://a.example", "http://localhost:3000"}),
        ("http://[::1]:8080", {"http://[::1]:8080"}),
        ("https://xn--bcher-kva.example:65535", {"https://xn--bcher-kva.example:65535"}),
    ],
)
def test_a_list_of_origins_is_read(text: str, origins: set[str]) -> None:
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        "*", "https://*.example", "a.example", "https://a.example/", "https://a.example/x", "https://A.example", "ftp://a.example",
        "null", "https://", "https://u@a.example", "https://a.example:", "https://a.example:65536", "https://a.example:443",
        "http://a.example:80", "https://a.example:0443", "https://a.example?x", "https://a b.example", "https://é.example",
        "https://good.example,https://a.example/",
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="takes"):
        parse_origins(text)
