"""The profiles that vproc comes with: `builtin.toml`, read with the same rules as a file of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from vproc.core.profile import Profile, get_profile
from vproc.core.profile_file import parse_profiles

FILE = "builtin.toml"


@cache
def builtin_profiles() -> Mapping[str, Profile]:
    """By name, in the order of the documentation. Blocks on the file at the first call."""
    text = resources.files(__name__).joinpath(FILE).read_text(encoding="utf-8")
    return MappingProxyType(parse_profiles(text, source=FILE))


def builtin_profile(name: str) -> Profile:
    """One of them. Raises `RejectedError` ``unknown_profile``."""
    return get_profile(name, builtin_profiles())
