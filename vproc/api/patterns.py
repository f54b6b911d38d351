"""What a schema can say of a name and of a content type, for whoever makes a form or a client of it. The models decide: what
a pattern lets through may still be refused, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable

_UNSHOWABLE = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"


def file_name_pattern(suffixes: Iterable[str]) -> str:
    """A name with one of these suffixes, in any case: ECMA-262 has no flag inside a pattern."""
    ends = "|".join("".join(_either_case(char) for char in suffix.removeprefix(".")) for suffix in suffixes)
    return rf"^[^{_UNSHOWABLE}]*[^{_UNSHOWABLE}/\\]\.({ends})\s*$"


def content_type_pattern(applications: Iterable[str]) -> str:
    """``video/…``, ``audio/…`` or one of these, with parameters."""
    others = "|".join(kind.replace(".", r"\.") for kind in applications)
    return rf"^((video|audio)/[A-Za-z0-9!#$&^_.+-]{{1,64}}|{others})( ?; ?[ -~]{{0,99}}[!-~])?$"


def _either_case(char: str) -> str:
    return f"[{char.lower()}{char.upper()}]" if char.isalpha() else char
