"""API keys as values: what one looks like, what is kept of it, and what is no key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.api_keys import (
    KEY_BYTES,
    Scope,
    checked_owner,
    digest_of,
    make_key,
    read_key,
    read_session_token,
    same,
    scopes_of,
    session_token,
)


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_any_key_is_read_again_and_keeps_its_secret_to_itself(chance: bytes) -> None:
    key = make_key(chance)
    assert read_key(key.token) == (key.key_id, key.digest)
    secret = key.token.partition("_")[2].partition("_")[2]
    assert secret not in (key.key_id, key.digest)
    assert key.digest == digest_of(secret)


def test_a_key_is_made_of_just_so_much_chance() -> None:
    with pytest.raises(ValueError, match="of 40 bytes, not of 39"):
        make_key(bytes(39))


def test_two_keys_have_nothing_in_common() -> None:
    one, other = make_key(bytes(40)), make_key(bytes(range(40)))
    assert len({one.token, other.token, one.key_id, other.key_id, one.digest, other.digest}) == 6


@given(st.text(max_size=80))
def test_what_is_no_key_is_none(text: str) -> None:
    assert read_key(text) is None


@pytest.mark.parametrize("change", ["", " ", "\n", "x", "é"])
def test_a_key_with_anything_behind_it_is_none(change: str) -> None:
    token = make_key(bytes(40)).token
    assert (read_key(token + change) is None) is (change != "")


@given(st.binary(min_size=32, max_size=32))
def test_a_sessions_cookie_is_kept_as_a_digest(chance: bytes) -> None:
    value = session_token(chance)
    assert read_session_token(value) == digest_of(value)
    assert read_session_token(value + "x") is None


def test_digests_are_compared_whole() -> None:
    assert same(digest_of("a"), digest_of("a"))
    assert not same(digest_of("a"), digest_of("b"))


@pytest.mark.parametrize("owner", ["ann", "a b", "ä@example.org", "x" * 255, "|" * 255, "😀" * 75, "a/b", "..", "%2e"])
def test_an_owner_may_be_called_nearly_anything(owner: str) -> None:
    assert checked_owner(owner) == owner


@pytest.mark.parametrize("owner", ["", " a", "a ", "a\nb", "a\x00", "x" * 256])
def test_an_owner_that_is_no_name_is_refused_with_what_it_takes(owner: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 printable characters"):
        checked_owner(owner)


def test_an_owner_fits_in_a_storage_key() -> None:
    with pytest.raises(ValueError, match="900 bytes"):
        checked_owner("😀" * 76)


def test_a_key_that_names_no_scope_is_for_its_owners_files() -> None:
    assert scopes_of([]) == {Scope.FILES}
    assert scopes_of(["admin"]) == {Scope.ADMIN}
    with pytest.raises(ValueError, match="root"):
        scopes_of(["root"])
